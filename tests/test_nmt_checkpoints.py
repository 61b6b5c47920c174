"""Existing encoder–decoders: their own tokenizers and losses are what ours are compared with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
import transformers
from sentencepiece import sentencepiece_model_pb2
from transformers.models.m2m_100.modeling_m2m_100 import shift_tokens_right

from bitext.errors import InputError, UnknownNameError
from encoders.checkpoint import quietly
from nmt.network.model import load_translation_checkpoint
from nmt.training.batches import IGNORED, Batch, make_batch
from nmt.training.config import TrainConfig
from nmt.training.data import encode_corpus
from nmt.training.loss import loss_of
from nmt.training.train import train
from nmt.translation.translator import TranslationModel

ENGLISH = ["a small house", "the old house and the garden", "a cat sleeps", "the cat is small"]
GERMAN = [
    "ein kleines Haus",
    "das alte Haus und der Garten",
    "eine Katze schläft",
    "die Katze ist klein",
]
SHAPE: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "max_position_embeddings": 64,
}


def sentencepiece_model(folder: Path, kind: str, size: int = 70) -> Path:
    """A SentencePiece model of the sentences above, with T5's special ids."""
    path = folder / f"{kind}.model"
    text = folder / "text.txt"
    text.write_text("\n".join((ENGLISH + GERMAN) * 3) + "\n")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(path.with_suffix("")), model_type=kind, vocab_size=size,
        bos_id=-1, pad_id=0, eos_id=1, unk_id=2, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    return path


def pieces_of(path: Path) -> list[tuple[str, float]]:
    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    proto.ParseFromString(path.read_bytes())
    return [(one.piece, one.score) for one in proto.pieces]


def fairseq_pieces(folder: Path) -> list[tuple[str, float]]:
    own = pieces_of(sentencepiece_model(folder, "unigram"))[3:]
    return [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *own]


def mbart(folder: Path) -> tuple[Any, Any]:
    from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES

    codes = [(code, 0.0) for code in FAIRSEQ_LANGUAGE_CODES]
    vocab = [*fairseq_pieces(folder), *codes, ("<mask>", 0.0)]
    tokenizer = transformers.MBartTokenizer(vocab=vocab)
    config = transformers.MBartConfig(vocab_size=len(tokenizer), **SHAPE)
    return tokenizer, transformers.MBartForConditionalGeneration(config)


def mbart50(folder: Path) -> tuple[Any, Any]:
    from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES

    codes = [(code, 0.0) for code in FAIRSEQ_LANGUAGE_CODES]
    vocab = [*fairseq_pieces(folder), *codes, ("<mask>", 0.0)]
    tokenizer = transformers.MBart50Tokenizer(vocab=vocab)
    config = transformers.MBartConfig(vocab_size=len(tokenizer), decoder_start_token_id=2, **SHAPE)
    return tokenizer, transformers.MBartForConditionalGeneration(config)


def nllb(folder: Path) -> tuple[Any, Any]:
    names = [name for name, _ in pieces_of(sentencepiece_model(folder, "bpe"))[3:]]
    vocab = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    vocab |= {name: number for number, name in enumerate(names, start=4)}
    merges = [
        (name[:cut], name[cut:])
        for name in names
        for cut in range(1, len(name))
        if name[:cut] in vocab and name[cut:] in vocab
    ]
    kind: Any = transformers.NllbTokenizer
    tokenizer = kind(vocab=vocab, merges=merges)
    config = transformers.M2M100Config(vocab_size=len(tokenizer), **SHAPE)
    return tokenizer, transformers.M2M100ForConditionalGeneration(config)


def m2m100(folder: Path) -> tuple[Any, Any]:
    path = sentencepiece_model(folder, "bpe")
    names = ["<s>", "<pad>", "</s>", "<unk>", *(name for name, _ in pieces_of(path)[3:])]
    (folder / "vocab.json").write_text(json.dumps({name: k for k, name in enumerate(names)}))
    tokenizer = transformers.M2M100Tokenizer(str(folder / "vocab.json"), str(path))
    config = transformers.M2M100Config(vocab_size=len(names) + 108, **SHAPE)
    return tokenizer, transformers.M2M100ForConditionalGeneration(config)


def marian(folder: Path, tags: tuple[str, ...] = ()) -> tuple[Any, Any]:
    path = sentencepiece_model(folder, "unigram")
    names = ["</s>", "<unk>", *(name for name, _ in pieces_of(path)[3:]), *tags, "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({name: k for k, name in enumerate(names)}))
    tokenizer = transformers.MarianTokenizer(
        str(path), str(path), str(folder / "vocab.json"), source_lang="en", target_lang="de"
    )
    pad = len(names) - 1
    config = transformers.MarianConfig(
        vocab_size=len(names), pad_token_id=pad, eos_token_id=0, forced_eos_token_id=0,
        decoder_start_token_id=pad, **SHAPE,
    )  # fmt: skip
    return tokenizer, transformers.MarianMTModel(config)


def marian_to_many(folder: Path) -> tuple[Any, Any]:
    return marian(folder, (">>deu<<", ">>fra<<"))


def t5(folder: Path) -> tuple[Any, Any]:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += pieces_of(sentencepiece_model(folder, "unigram"))[3:]
    tokenizer = transformers.T5Tokenizer(vocab=pieces, extra_ids=4)
    kind: Any = transformers.T5Config
    config = kind(
        vocab_size=len(tokenizer) + 5, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
        decoder_start_token_id=0,
    )  # fmt: skip
    return tokenizer, transformers.T5ForConditionalGeneration(config)


def mt5(folder: Path) -> tuple[Any, Any]:
    tokenizer, _ = t5(folder)
    config = transformers.MT5Config(
        vocab_size=len(tokenizer) + 5, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
        decoder_start_token_id=0,
    )  # fmt: skip
    return tokenizer, transformers.MT5ForConditionalGeneration(config)


Maker = Callable[[Path], tuple[Any, Any]]
# its maker, its own names for English and German, and words that it has before the source
FAMILIES: dict[str, tuple[Maker, str, str, str]] = {
    "mbart": (mbart, "en_XX", "de_DE", ""),
    "mbart50": (mbart50, "en_XX", "de_DE", ""),
    "nllb": (nllb, "eng_Latn", "deu_Latn", ""),
    "m2m100": (m2m100, "en", "de", ""),
    "marian": (marian, "en", "de", ""),
    "marian-to-many": (marian_to_many, "en", ">>deu<<", ">>deu<<"),
    "t5": (t5, "en", "de", "translate English to German: "),
    "mt5": (mt5, "en", "de", "translate English to German: "),
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A family's name, and the folder of a tiny model of it."""
    made = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    tokenizer, model = FAMILIES[request.param][0](made)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)
    with quietly():
        model.save_pretrained(made / "model")
        tokenizer.save_pretrained(made / "model")
    return request.param, made / "model"


def theirs(name: str, folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    """The family's tokenizer and model as ``transformers`` uses them, and its batch."""
    with quietly():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    _, source, target, words = FAMILIES[name]
    tokenizer.src_lang, tokenizer.tgt_lang = source, target
    # by itself it would cut nothing and pad on the right
    batch = tokenizer(
        [words + one for one in ENGLISH], text_target=GERMAN, padding=True, return_tensors="pt"
    )
    batch["labels"][batch["labels"] == tokenizer.pad_token_id] = IGNORED
    return tokenizer, model.eval(), dict(batch)


def our_batch(codec: Any) -> Batch:
    source: Any = codec.source(ENGLISH, "en", "de")
    frame = codec.frame("de")
    target: Any = [[*frame.before, *one, *frame.after] for one in codec.target(GERMAN, "de")]
    return make_batch(source, target, [frame.given] * 4, pad=codec.pad)


def test_pieces_and_labels_are_the_tokenizers_own(family: tuple[str, Path]) -> None:
    name, folder = family
    _, model, batch = theirs(name, folder)
    ours = our_batch(load_translation_checkpoint(folder).codec)
    assert ours.source.tolist() == batch["input_ids"].tolist()
    assert ours.source_mask.tolist() == batch["attention_mask"].tolist()
    assert ours.labels.tolist() == batch["labels"].tolist()
    if model.config.model_type == "m2m_100":
        pad, start = model.config.pad_token_id, model.config.decoder_start_token_id
        shifted = shift_tokens_right(batch["labels"], pad, start)
    else:
        shifted = model.prepare_decoder_input_ids_from_labels(batch["labels"])
    # behind the end they differ: ours is cut, theirs goes on with what is not looked at
    seen = ours.labels != IGNORED
    assert ours.decoder_input[seen].tolist() == shifted[seen].tolist()


def test_the_loss_is_the_models_own(family: tuple[str, Path]) -> None:
    name, folder = family
    _, model, batch = theirs(name, folder)
    with torch.no_grad():
        own = model(**batch).loss
        total, count = loss_of(model, our_batch(load_translation_checkpoint(folder).codec))
    assert float(total) / count == pytest.approx(float(own), abs=1e-5)


def test_translation_begins_as_generate_does(family: tuple[str, Path]) -> None:
    name, folder = family
    tokenizer, model, batch = theirs(name, folder)
    begun: dict[str, Any] = {}
    if name in ("mbart50", "nllb"):
        begun["forced_bos_token_id"] = tokenizer.convert_tokens_to_ids(FAMILIES[name][2])
    elif name == "m2m100":
        begun["forced_bos_token_id"] = tokenizer.get_lang_id("de")
    elif name == "mbart":
        begun["decoder_start_token_id"] = tokenizer.lang_code_to_id["de_DE"]
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
    output = model.generate(**inputs, **begun, num_beams=1, do_sample=False, max_new_tokens=3)
    prefix = load_translation_checkpoint(folder).codec.prefix("de")
    assert output[0, : len(prefix)].tolist() == prefix


def test_translations_are_those_of_generate(family: tuple[str, Path]) -> None:
    name, folder = family
    _, model, batch = theirs(name, folder)
    model.generation_config.forced_eos_token_id = None  # at the bound, which is no end of ours
    ours = TranslationModel.load(folder)
    prefix = ours.codec.prefix("de")
    found = ours.translate(ENGLISH, "en", "de", beam_size=1, max_length=8)
    output = model.generate(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        decoder_input_ids=torch.tensor([prefix] * len(ENGLISH)),
        decoder_start_token_id=prefix[0],  # else it puts its own before
        num_beams=1,
        do_sample=False,
        max_new_tokens=6,
    )
    for hypotheses, row in zip(found, output.tolist(), strict=True):
        # whether the language's own piece counts is another question
        assert hypotheses[0].text.startswith(ours.codec.text(row))


def test_text_comes_back(family: tuple[str, Path]) -> None:
    codec = load_translation_checkpoint(family[1]).codec
    assert [codec.text(ids) for ids in codec.target(GERMAN, "de")] == GERMAN


def test_special_pieces_in_text_are_text(family: tuple[str, Path]) -> None:
    codec = load_translation_checkpoint(family[1]).codec
    assert codec.end not in codec.target(["a</s>b"], "de")[0]


def test_own_names_of_languages_are_known_too(family: tuple[str, Path]) -> None:
    name, folder = family
    codec = load_translation_checkpoint(folder).codec
    _, source, target, _ = FAMILIES[name]
    assert codec.source(ENGLISH, source, target) == codec.source(ENGLISH, "en", "de")
    if name not in ("t5", "mt5"):
        with pytest.raises(UnknownNameError, match="language 'xx'"):
            codec.source(ENGLISH, "en", "xx")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    lines = [f"{en}\t{de}\n" for en, de in zip(ENGLISH, GERMAN, strict=True)]
    (folder / "pairs.tsv").write_text("".join(lines))
    return folder


def config_of(checkpoint: Path, /, **more: Any) -> TrainConfig:
    written = {
        "data": {
            "source_lang": "en",
            "target_lang": "de",
            "corpora": [{"file": "pairs.tsv"}],
            "dev": [{"file": "pairs.tsv"}],
        },
        "initialize": {"model": str(checkpoint)},
        "stages": [{"steps": 8, "batch_tokens": 100, "learning_rate": 0.01, "warmup_steps": 0}],
        "validation": {"every": 4, "measure": "loss"},
    }
    return TrainConfig.model_validate({**written, **more})


def test_fine_tuning_leaves_an_ordinary_folder(
    family: tuple[str, Path], data: Path, tmp_path: Path
) -> None:
    name, folder = family
    made = train(config_of(folder), data=data, output=tmp_path / "run", progress=False)
    log = (tmp_path / "run" / "run" / "log.jsonl").read_text()
    figures = [json.loads(line) for line in log.splitlines()]
    losses = [one["dev loss"] for one in figures if "dev loss" in one]
    assert losses[-1] < losses[0], "it learns"
    tokenizer, model, batch = theirs(name, made)
    assert type(tokenizer) is type(theirs(name, folder)[0])
    loaded = load_translation_checkpoint(made)
    assert loaded.codec.languages == ("de", "en")
    ours = our_batch(loaded.codec)
    assert ours.source.tolist() == batch["input_ids"].tolist()
    # plain generate begins as ours does, with nothing forced by hand
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
    output = model.generate(**inputs, num_beams=1, do_sample=False, max_new_tokens=3)
    prefix = loaded.codec.prefix("de")
    assert output[0, : len(prefix)].tolist() == prefix
    with pytest.raises(UnknownNameError, match="'fr'"):
        loaded.codec.source(ENGLISH, "en", "fr")
    with torch.no_grad():
        total, count = loss_of(loaded.model, ours)
        assert float(total) / count == pytest.approx(float(model(**batch).loss), abs=1e-5)
    # it can be tuned once more
    train(config_of(made), data=data, output=tmp_path / "again", progress=False)


def make(maker: Maker, folder: Path) -> Path:
    torch.manual_seed(0)
    tokenizer, model = maker(folder)
    with quietly():
        model.save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
    return folder / "model"


@pytest.mark.parametrize("maker", [mbart, mt5])
def test_a_trimmed_vocabulary_changes_no_segmentation(
    maker: Maker, data: Path, tmp_path: Path
) -> None:
    folder = make(maker, tmp_path)
    # of the second pair nothing is used
    (data / "pairs.tsv").write_text(f"{ENGLISH[0]}\t{GERMAN[0]}\n{ENGLISH[3]}\t{GERMAN[3]}\n")
    config = config_of(folder, vocabulary={"source": "encoder"})
    made = load_translation_checkpoint(
        train(config, data=data, output=tmp_path / "run", progress=False)
    )
    whole = load_translation_checkpoint(folder)
    assert len(made.codec.tokenizer) < len(whole.codec.tokenizer)  # type: ignore[attr-defined]
    assert type(made.codec.tokenizer) is type(whole.codec.tokenizer)  # type: ignore[attr-defined]
    assert len(made.model.get_input_embeddings().weight) == len(made.codec.tokenizer)  # type: ignore[attr-defined]
    for sentence in (ENGLISH[0], ENGLISH[3]):
        here, there = (
            one.codec.tokenizer.convert_ids_to_tokens(one.codec.source([sentence], "en", "de")[0])  # type: ignore[attr-defined]
            for one in (made, whole)
        )
        assert here == there
    # the weights at the start are the old ones' rows
    began = load_translation_checkpoint(tmp_path / "run" / "start")
    names = began.codec.tokenizer.get_vocab()  # type: ignore[attr-defined]
    old = whole.codec.tokenizer.get_vocab()  # type: ignore[attr-defined]
    for name in ("</s>", "<pad>", "▁"):
        torch.testing.assert_close(
            began.model.get_input_embeddings().weight[names[name]],
            whole.model.get_input_embeddings().weight[old[name]],
        )
    assert began.model.config.pad_token_id == names["<pad>"]
    assert began.model.config.eos_token_id == names["</s>"]


def test_marians_positions_are_a_formula(data: Path, tmp_path: Path) -> None:
    folder = make(marian, tmp_path)
    made = train(config_of(folder), data=data, output=tmp_path / "run", progress=False)
    before, after = (load_translation_checkpoint(one).model for one in (folder, made))
    name = "model.encoder.embed_positions.weight"
    torch.testing.assert_close(before.state_dict()[name], after.state_dict()[name])


@pytest.mark.parametrize(
    ("maker", "more", "said"),
    [
        (marian, {"model": {"dim": 32}}, "model.dim is 32, and checkpoint .* has 16"),
        (t5, {"model": {"encoder_layers": 2}}, "model.encoder_layers is 2, .* has 1"),
        (mbart, {"model": {"max_pieces": 65}}, "model.max_pieces is 65, .* takes 64"),
        (mbart, {"vocabulary": {"source": "corpus"}}, "knows no other pieces"),
        (nllb, {"vocabulary": {"source": "encoder"}}, "kind BPE cannot be trimmed"),
        (m2m100, {"vocabulary": {"source": "encoder"}}, "cannot be trimmed"),
        (t5, {"model": {"activation_dropout": 0.1}}, "has no such rate"),
    ],
)
def test_what_does_not_fit_the_checkpoint_is_refused(
    maker: Maker, more: dict[str, Any], said: str, data: Path, tmp_path: Path
) -> None:
    config = config_of(make(maker, tmp_path), **more)
    with pytest.raises(InputError, match=said):
        train(config, data=data, output=tmp_path / "run", progress=False)


def test_parts_of_a_whole_model_cannot_be_chosen(data: Path, tmp_path: Path) -> None:
    how = {"model": str(make(marian, tmp_path)), "cross_attention": "random"}
    with pytest.raises(InputError, match=r"initialize\.cross_attention: .* whole encoder-decoder"):
        train(config_of(tmp_path, initialize=how), data=data, output=tmp_path / "run")


def test_a_tag_of_a_corpus_becomes_a_piece(data: Path, tmp_path: Path) -> None:
    folder = make(mbart50, tmp_path)
    config = config_of(folder)
    tagged = {**config.model_dump(), "initialize": {"model": str(folder)}}
    tagged["data"]["corpora"].append({"file": "pairs.tsv", "tag": "<bt>"})
    made = load_translation_checkpoint(
        train(TrainConfig.model_validate(tagged), data=data, output=tmp_path / "run")
    )
    number = made.codec.tokenizer.convert_tokens_to_ids("<bt>")  # type: ignore[attr-defined]
    config = TrainConfig.model_validate(tagged)
    encoded, _ = encode_corpus(config.data.corpora[1], config.data, made.codec, data)
    assert all(number in encoded.source[row] for row in range(len(encoded)))
    assert len(made.model.get_input_embeddings().weight) == number + 1
