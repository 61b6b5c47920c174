"""New languages: what a vocabulary gets, what new rows are made of, and what stays as it was."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from bitext.errors import InputError, MismatchError, UnknownNameError
from encoders.checkpoint import ModelKey, load_checkpoint
from encoders.encoder import Encoder
from encoders.hub import fingerprint
from encoders.languages.adapters import (
    AdapterSettings,
    InvertibleAdapter,
    LanguageAdapter,
    add_language_adapter,
    load_adapter,
    save_adapter,
)
from encoders.languages.factorisation import (
    FactorisedEmbedding,
    Factors,
    factorise,
    factorise_model,
    merge,
)
from encoders.languages.piece_models import NewPiece, merge_by_rank
from encoders.languages.transliteration import to_ascii, to_latin
from encoders.languages.vocabulary_extension import (
    _score_shift,
    add_rows,
    append_pieces,
    extend_vocabulary,
    new_pieces,
)
from encoders.subwords import SubwordSplitter

GEORGIAN = ["სახლი პატარაა", "ბაღი დიდია", "კატა ძველ სახლში სძინავს", "სახლი და ბაღი"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROLES = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


@pytest.fixture
def masked(tiny_model: Path) -> Any:
    """The tiny model with a head, whose output matrix is its embeddings."""
    torch.manual_seed(0)
    model = hf.XLMRobertaForMaskedLM(hf.AutoConfig.from_pretrained(tiny_model))
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture
def tokenizer(tiny_model: Path) -> Any:
    return hf.AutoTokenizer.from_pretrained(tiny_model)


def wrap(raw: Tokenizer) -> Any:
    roles = {f"{role}_token": piece for role, piece in ROLES.items()}
    return hf.PreTrainedTokenizerFast(tokenizer_object=raw, **roles)


def unigram(pieces: list[tuple[str, float]]) -> Any:
    special = [(piece, 0.0) for piece in SPECIAL]
    raw = Tokenizer(models.Unigram([*special, *pieces], unk_id=1))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    return wrap(raw)


def word_piece(pieces: list[str]) -> Any:
    vocabulary = {piece: number for number, piece in enumerate([*SPECIAL, *pieces])}
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    return wrap(raw)


def byte_pair(merges: list[tuple[str, str]], **settings: Any) -> Any:
    letters = [*"Gabcdehmorstu", *(a + b for a, b in merges)]
    vocabulary = {piece: number for number, piece in enumerate([*SPECIAL, *letters])}
    raw = Tokenizer(models.BPE(vocabulary, merges, unk_token="[UNK]", **settings))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return wrap(raw)


def pieces_of(tokenizer: Any, text: str) -> list[str]:
    return list(tokenizer.tokenize(text))


# --- vocabulary


def test_unigram_pieces_compete_by_their_score() -> None:
    old = unigram([("▁", -2), ("▁h", -3), ("a", -3), ("u", -3), ("s", -3), ("au", -4)])
    assert pieces_of(old, "haus") == ["▁h", "au", "s"]  # -10; the letters alone are -12
    new, parts = append_pieces(old, [NewPiece("▁hau", -6.5), NewPiece("aus", -8)], limit=2)
    # "▁hau" + "s" is -9.5 and beats -10; "▁h" + "aus", -11, does not
    assert pieces_of(new, "haus") == ["▁hau", "s"]
    assert parts == [[6, 10], [10, 9]]  # what the old model made of them: ▁h au, and au s
    assert new.convert_tokens_to_ids(["▁hau", "aus"]) == [11, 12]


def test_a_word_mark_alone_does_not_tell_what_a_piece_is() -> None:
    old = unigram([("▁", -2), ("a", -3)])
    pieces = [NewPiece(text, -1) for text in ("▁ბ", "▁ბa", "ბ", "▁a")]
    # nothing known but the mark; mark and a; nothing; mark and a
    assert append_pieces(old, pieces, limit=4)[1] == [[], [5, 6], [], [5, 6]]


def test_word_pieces_are_the_longest_and_know_their_place() -> None:
    old = word_piece(["h", "##ou", "##o", "##u", "##s", "##e", "m"])
    new, parts = append_pieces(old, [NewPiece("##ouse", 0), NewPiece("hx", 0)], limit=9)
    assert pieces_of(old, "mouse house") == ["m", "##ou", "##s", "##e", "h", "##ou", "##s", "##e"]
    assert pieces_of(new, "mouse house") == ["m", "##ouse", "h", "##ouse"]
    assert parts == [[6, 9, 10], [5]]  # the unknown x counts for nothing


def test_byte_pairs_are_merged_up_to_the_new_piece() -> None:
    old = byte_pair([("o", "u"), ("s", "e")])
    assert pieces_of(old, "mouse") == ["m", "ou", "se"]
    new, parts = append_pieces(old, [NewPiece("mouse", -1), NewPiece("hose", -2)], limit=3)
    # "mouse" needs "mou" on the way, which leaves room for one piece, and "hose" needs "ho" too
    assert pieces_of(new, "mouse hose mouth") == ["mouse", "h", "o", "se", "mou", "t", "h"]
    assert [new.convert_ids_to_tokens(20 + i) for i in range(2)] == ["mou", "mouse"]
    assert len(new) == 22
    assert parts == [[12, 18], [12, 18, 19]]  # m = 12, ou = 18, se = 19


def test_pairs_merge_by_rank() -> None:
    ranks = {("b", "c"): 0, ("a", "b"): 1, ("a", "bc"): 2, ("a", "a"): 3}
    assert merge_by_rank([*"abc"], ranks) == ["abc"]
    assert merge_by_rank([*"abab"], ranks) == ["ab", "ab"]
    assert merge_by_rank([*"aaa"], ranks) == ["aa", "a"]


def test_byte_pairs_that_mark_the_end_of_a_word_are_refused() -> None:
    old = byte_pair([("o", "u")], end_of_word_suffix="</w>")
    with pytest.raises(InputError, match="marks words by '</w>' cannot be extended"):
        new_pieces(old, ["mouse"], 1)


def test_other_vocabularies_are_refused() -> None:
    words = wrap(Tokenizer(models.WordLevel({p: i for i, p in enumerate(SPECIAL)}, "[UNK]")))
    with pytest.raises(InputError, match="a WordLevel vocabulary cannot be extended; it can be if"):
        new_pieces(words, ["mouse"], 1)
    with pytest.raises(InputError, match="^object has no fast form"):
        new_pieces(object(), ["mouse"], 1)


def test_special_pieces_behind_the_list_keep_their_ids() -> None:
    """A Unigram id is a place in a list, and added pieces may have ids behind its end."""
    old = unigram([("▁", -2), ("a", -3)])
    old.add_tokens(["<extra>"])
    new, _ = append_pieces(old, [NewPiece("▁a", -3)], limit=1)
    assert new.convert_tokens_to_ids(["a", "<extra>", "▁a"]) == [6, 7, 8]
    assert pieces_of(old, "a <extra>") == ["▁", "a", "▁", "<extra>"]
    assert pieces_of(new, "a <extra>") == ["▁a", "▁", "<extra>"]


def test_characters_come_before_longer_pieces(tokenizer: Any) -> None:
    found = new_pieces(tokenizer, GEORGIAN, 60)
    letters = {*"".join(GEORGIAN)} - {" "}
    assert {piece.text for piece in found[: len(letters)]} == letters
    # ა stands 15 times in the text, more often than any other
    assert found[0].text == "ა"
    longer = found[len(letters) :]
    assert longer == sorted(longer, key=lambda piece: -piece.score)
    assert not {piece.text for piece in found} & tokenizer.get_vocab().keys()


def test_rare_characters_are_left_out() -> None:
    # 1 in 3000 characters is rarer than 1 - COVERAGE allows to be unknown, 2 are not
    old = word_piece(["a", "##a"])
    rare = new_pieces(old, ["aa"] * 1499 + ["þa"], 5)
    assert "þ" not in {piece.text for piece in rare}
    common = new_pieces(old, ["aa"] * 1498 + ["þa"] * 2, 5)
    assert common[0].text == "þ"


def test_no_text_and_no_wish_for_pieces(tokenizer: Any) -> None:
    with pytest.raises(InputError, match="there is no text to learn new pieces from"):
        new_pieces(tokenizer, ["", " "], 5)
    for old in (tokenizer, word_piece(["a"])):
        assert new_pieces(old, GEORGIAN, 0) == []


def test_new_scores_are_on_the_old_scale() -> None:
    # Two pieces are shared, of probabilities 0.6 and 0.2 in the text: the gaps of -1 and -5 count
    # as 0.6 * -1 + 0.2 * -5 = -1.6, over 0.8.
    new = {"a": math.log(0.6), "b": math.log(0.2), "c": math.log(0.2)}
    old = {"a": math.log(0.6) - 1, "b": math.log(0.2) - 5, "x": -1}
    assert _score_shift(old, new) == pytest.approx(-2)
    assert _score_shift({"x": -1}, new) == 0
    # b and c are as frequent in the text, so c gets the score that b has in the old vocabulary
    found = {piece.text: piece.score for piece in new_pieces(unigram([("b", -6)]), ["b c"], 9)}
    assert found["c"] == pytest.approx(-6)


@pytest.mark.parametrize("kind", ["unigram", "word_piece", "bytes"])
def test_an_unseen_script_is_no_longer_unknown(kind: str, tokenizer: Any) -> None:
    if kind == "word_piece":
        tokenizer = word_piece(["a", "##a"])
    elif kind == "bytes":
        raw = Tokenizer(models.BPE())
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        raw.decoder = decoders.ByteLevel()
        raw.train_from_iterator(
            ["a"],
            trainers.BpeTrainer(
                special_tokens=SPECIAL,
                initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                show_progress=False,
            ),
        )
        tokenizer = wrap(raw)
    new, _ = append_pieces(tokenizer, new_pieces(tokenizer, GEORGIAN, 80), limit=80)
    before, after = (sum(len(t.tokenize(s)) for s in GEORGIAN) for t in (tokenizer, new))
    ids = [number for text in GEORGIAN for number in new(text)["input_ids"]]
    assert new.unk_token_id not in ids
    assert max(ids) >= len(tokenizer)
    if kind == "bytes":  # which knew every character as three pieces
        assert after < before / 2
    assert [new.decode(new(t, add_special_tokens=False)["input_ids"]) for t in GEORGIAN] == GEORGIAN


def test_what_is_saved_loads_in_plain_transformers(
    masked: Any, tokenizer: Any, tmp_path: Path
) -> None:
    size = len(tokenizer)
    extended = extend_vocabulary(masked, tokenizer, GEORGIAN, 20)
    assert len(extended) == size + 20
    masked.save_pretrained(tmp_path)
    extended.save_pretrained(tmp_path)
    model, read = (
        hf.AutoModelForMaskedLM.from_pretrained(tmp_path),
        hf.AutoTokenizer.from_pretrained(tmp_path),
    )
    old = tokenizer.get_vocab()
    assert {piece: read.get_vocab()[piece] for piece in old} == old
    assert read.tokenize(GEORGIAN[0]) == extended.tokenize(GEORGIAN[0])
    assert model.get_input_embeddings().weight.shape == (size + 20, 16)
    inputs = read(GEORGIAN, return_tensors="pt", padding=True)
    with torch.inference_mode():
        torch.testing.assert_close(model(**inputs).logits, masked(**inputs).logits)
    assert model(**inputs).logits.shape[-1] == size + 20


def test_old_text_has_the_vectors_it_had(masked: Any, tokenizer: Any) -> None:
    """Its pieces are Latin, and the new ones Georgian, so not even its pieces change."""
    inputs = tokenizer("the old house", return_tensors="pt")
    with torch.inference_mode():
        before = masked(**inputs).logits
        extended = extend_vocabulary(masked, tokenizer, GEORGIAN, 20)
        after = masked(**inputs).logits
    assert extended("the old house")["input_ids"] == inputs["input_ids"][0].tolist()
    torch.testing.assert_close(after[..., : before.shape[-1]], before)


# --- rows


@pytest.mark.parametrize("tied", [True, False])
def test_a_new_row_is_the_mean_of_its_parts(tied: bool) -> None:
    config = hf.BertConfig(
        vocab_size=4,
        hidden_size=2,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=2,
        tie_word_embeddings=tied,
    )
    model: Any = hf.BertForMaskedLM(config)
    table, output = model.get_input_embeddings().weight, model.get_output_embeddings()
    with torch.no_grad():
        table.copy_(torch.tensor([[0.0, 0], [2, 4], [4, 8], [6, 6]]))
        if not tied:
            output.weight.copy_(table + 1)
        output.bias.copy_(torch.tensor([0.0, 1, 2, 6]))
    add_rows(model, [[1, 2], [1, 2, 3], [3]], first=4)
    # (2 4) and (4 8) have the mean (3 6); with (6 6), (4 6). Biases: 1.5, 3 and 6.
    expected = torch.tensor([[0.0, 0], [2, 4], [4, 8], [6, 6], [3, 6], [4, 6], [6, 6]])
    output = model.get_output_embeddings()
    torch.testing.assert_close(model.get_input_embeddings().weight.data, expected)
    torch.testing.assert_close(output.weight.data, expected if tied else expected + 1)
    torch.testing.assert_close(output.bias.data, torch.tensor([0.0, 1, 2, 6, 1.5, 3, 6]))
    assert (output.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()) == tied
    assert model.config.vocab_size == 7
    # the head's own name for the bias is still the same tensor
    assert model.cls.predictions.bias.data_ptr() == output.bias.data_ptr()


def test_spare_rows_are_used_first_and_a_row_without_parts_is_drawn() -> None:
    config = hf.BertConfig(
        vocab_size=400, hidden_size=2, num_hidden_layers=1, num_attention_heads=1
    )
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        model = hf.BertModel(config)
        with torch.no_grad():
            model.get_input_embeddings().weight.copy_(torch.tensor([10.0, -10]).expand(400, 2))
            model.get_input_embeddings().weight[::2] += 2
        add_rows(model, [[], []], first=398, seed=seed)
        assert len(model.get_input_embeddings().weight) == 400
        drawn.append(model.get_input_embeddings().weight[398:].tolist())
    assert drawn[0] == drawn[1] != drawn[2]
    # means 11 and -9, deviation 1: five deviations away would be a wrong mean or scale
    np.testing.assert_allclose(drawn[0], [[11, -9], [11, -9]], atol=5)


def test_a_tokenizer_with_more_ids_than_the_model_has_rows(masked: Any) -> None:
    with pytest.raises(MismatchError, match=r"the tokenizer has 151 ids, and the model rows for"):
        add_rows(masked, [[1]], first=151)


HEADS: dict[str, Any] = {
    "albert": hf.AlbertConfig(
        hidden_size=16, embedding_size=8, num_attention_heads=2, num_hidden_layers=2
    ),
    "distilbert": hf.DistilBertConfig(dim=16, n_layers=1, n_heads=2, hidden_dim=32),
    "modernbert": hf.ModernBertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    ),
    "electra": hf.ElectraConfig(
        hidden_size=16, embedding_size=8, num_hidden_layers=1, num_attention_heads=2
    ),
}


@pytest.mark.parametrize("way", ["rows", "factors"])
@pytest.mark.parametrize("name", HEADS)
def test_other_models_get_rows_and_factors(
    name: str, way: str, tokenizer: Any, tmp_path: Path
) -> None:
    config = HEADS[name]
    config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
    model = hf.AutoModelForMaskedLM.from_config(config).eval()
    if way == "rows":
        extended = extend_vocabulary(model, tokenizer, GEORGIAN, 20)
    else:
        extended, _ = append_pieces(tokenizer, new_pieces(tokenizer, GEORGIAN, 20), limit=20)
        factorise_model(model, tokenizer, extended, rank=4, iterations=1)
    inputs = extended(GEORGIAN[0], return_tensors="pt")
    logits = model(**inputs).logits
    assert logits.shape[-1] == len(tokenizer) + 20
    if way == "factors":
        merge(model)
    model.save_pretrained(tmp_path)
    read = hf.AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(read(**inputs).logits, logits)


# --- factors


def test_a_matrix_of_lower_rank_is_factorised_exactly() -> None:
    torch.manual_seed(0)
    # rank 3 of both signs: a factor that may not be negative needs one direction more
    table = torch.randn(50, 3) @ torch.randn(3, 8)
    own, shared = factorise(table, rank=4, iterations=20)
    assert (own.shape, shared.shape) == ((50, 4), (4, 8))
    assert (shared >= 0).all()
    torch.testing.assert_close(own @ shared, table, atol=1e-4, rtol=1e-4)


def test_iterations_lower_the_error_below_that_of_the_start() -> None:
    torch.manual_seed(0)
    table = torch.randn(60, 10)
    errors = []
    for iterations in (0, 5, 50):
        own, shared = factorise(table, rank=4, iterations=iterations)
        errors.append(float((table - own @ shared).norm()))
    truncated = torch.linalg.svdvals(table)
    assert errors[0] <= float(truncated[3:].norm()) * 1.0001  # an SVD of rank 3
    assert errors[0] > errors[1] > errors[2] > float(truncated[4:].norm())


@pytest.mark.parametrize("rank", [1, 9])
def test_a_rank_that_does_not_suit(rank: int) -> None:
    with pytest.raises(InputError, match=f"rank {rank} does not suit .* choose one from 2 to 8"):
        factorise(torch.randn(50, 8), rank=rank)


def test_rows_of_a_factorised_embedding() -> None:
    # G has rows (1 0 1) and (0 1 1). Piece 0 is known, 1 x first + 2 x second = (1 2 3), and its
    # residual adds (0 0 5); piece 1 is new, 3 x first = (3 0 3).
    factors = Factors(torch.tensor([[1.0, 2], [3, 0]]), torch.tensor([[1.0, 0, 1], [0, 1, 1]]))
    residual = torch.tensor([[0.0, 0, 5], [0, 0, 0]])
    embedding = FactorisedEmbedding(factors, torch.tensor([False, True]), residual)
    expected = torch.tensor([[1.0, 2, 8], [3, 0, 3]])
    torch.testing.assert_close(embedding.weight, expected)
    torch.testing.assert_close(embedding(torch.tensor([[1, 0]])), expected[[1, 0]][None])
    assert [name for name, _ in embedding.named_parameters()] == ["new"]
    assert embedding.new.tolist() == [[3, 0]]


@pytest.mark.parametrize("exact", [True, False])
def test_only_new_rows_learn(masked: Any, tokenizer: Any, exact: bool) -> None:
    extended, _ = append_pieces(tokenizer, new_pieces(tokenizer, GEORGIAN, 20), limit=20)
    size = len(tokenizer)
    before = masked.get_input_embeddings().weight.detach().clone()
    embedding = factorise_model(masked, tokenizer, extended, rank=4, iterations=3, exact=exact)
    start = embedding.weight.detach().clone()
    distance = float((start[:size] - before).norm() / before.norm())
    assert (distance < 1e-6) == exact
    optimizer = torch.optim.AdamW(masked.parameters(), lr=0.1, weight_decay=0.1)
    shared = embedding.shared.clone()
    inputs = extended(GEORGIAN, return_tensors="pt", padding=True)
    masked(**inputs, labels=inputs["input_ids"]).loss.backward()
    optimizer.step()
    after = embedding.weight.detach()
    torch.testing.assert_close(after[:size], start[:size])
    torch.testing.assert_close(embedding.shared, shared)
    assert ((after[size:] - start[size:]).abs().amax(1) > 0.01).all()
    logits = masked(**inputs).logits
    merge(masked)
    assert masked.get_input_embeddings().weight.shape == (size + 20, 16)
    torch.testing.assert_close(masked(**inputs).logits, logits)
    output = masked.get_output_embeddings()
    assert output.weight.data_ptr() == masked.get_input_embeddings().weight.data_ptr()
    with pytest.raises(InputError, match="has no factorised embedding to merge"):
        merge(masked)


def test_another_vocabulary_keeps_the_rows_of_pieces_it_shares(masked: Any, tokenizer: Any) -> None:
    other = word_piece(["the", "ღ", "##ღ", "."])
    before = masked.get_input_embeddings().weight.detach().clone()
    embedding = factorise_model(masked, tokenizer, other, rank=4, iterations=1)
    merge(masked)
    after = masked.get_input_embeddings().weight
    assert len(after) == len(other) == 9
    dot, mask = tokenizer.get_vocab()["."], tokenizer.mask_token_id
    torch.testing.assert_close(after[8], before[dot])
    torch.testing.assert_close(after[4], before[mask])  # "[MASK]" is called "<mask>" there
    assert embedding.ids.tolist() == [5, 6, 7]  # "the" is "▁the" there


# --- adapters


def moved(adapter: LanguageAdapter) -> LanguageAdapter:
    """The adapter as if it had learnt something."""
    torch.manual_seed(1)
    for parameter in adapter.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return adapter


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


def vectors(checkpoint: Any, layer: int) -> np.ndarray:
    return Encoder(checkpoint).pieces([["the", "old", "house"]], layer=layer)[0].vectors


def test_an_invertible_adapter_is_inverted() -> None:
    torch.manual_seed(0)
    adapter = InvertibleAdapter(6, 2)
    rows = torch.randn(4, 6)
    torch.testing.assert_close(adapter(rows), rows)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_()
    assert (adapter(rows) - rows).abs().min() > 0  # both halves are moved
    torch.testing.assert_close(adapter.inverse(adapter(rows)), rows)
    torch.testing.assert_close(adapter(adapter.inverse(rows)), rows)


def test_additive_coupling_by_hand() -> None:
    # Halves of one number. F(x) = 2 relu(x) and G(x) = 3 relu(x): of (1, 5), the first becomes
    # 1 + 2 * 5 = 11, the second 5 + 3 * 11 = 38.
    adapter = InvertibleAdapter(2, 1)
    with torch.no_grad():
        for half, factor in ((adapter.first, 2.0), (adapter.second, 3.0)):
            half.down.weight.fill_(1)
            half.down.bias.zero_()
            half.up.weight.fill_(factor)
    assert adapter(torch.tensor([1.0, 5])).tolist() == [11, 38]


def test_an_odd_dim_has_no_halves() -> None:
    with pytest.raises(InputError, match="embeddings of even dim, not 7"):
        InvertibleAdapter(7, 2)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_an_adapter_changes_nothing_at_first_then_every_layer(copy: Path, layer: int) -> None:
    base = vectors(load_checkpoint(ModelKey(str(copy))), layer)
    model = hf.AutoModel.from_pretrained(copy, add_pooling_layer=False)
    adapter = add_language_adapter(model, AdapterSettings())
    save_adapter(adapter, copy)
    start = load_checkpoint(ModelKey(str(copy)))
    np.testing.assert_array_equal(vectors(start, layer), base)
    save_adapter(moved(adapter), copy)
    learnt = load_checkpoint(ModelKey(str(copy)))
    assert np.abs(vectors(learnt, layer) - base).max() > 0.01


def test_what_was_saved_gives_the_same_vectors(copy: Path) -> None:
    key = ModelKey(str(copy))
    plain = load_checkpoint(key)
    assert plain.adapter is None
    base = vectors(plain, 2)
    adapter = moved(add_language_adapter(plain.model, AdapterSettings(language="ka", reduction=4)))
    encoder = Encoder(plain)
    expected = encoder.pieces([["the", "old", "house"]], layer=2)[0].vectors
    save_adapter(adapter, copy)
    loaded = load_checkpoint(key)
    np.testing.assert_array_equal(vectors(loaded, 2), expected)
    assert loaded.adapter is not None
    assert loaded.adapter.settings == AdapterSettings(language="ka", reduction=4)
    assert loaded.fingerprint != plain.fingerprint
    # two bottlenecks of 16 x 4 and two coupling functions of 8 x 4, with biases, in four bytes
    numbers = 2 * (16 * 4 * 2 + 4 + 16) + 2 * (8 * 4 * 2 + 4 + 8)
    assert loaded.bytes - plain.bytes == 4 * numbers
    # taken out, also of an encoder that has put its own hooks beside, the model is what it was
    adapter.remove()
    after = encoder.pieces([["the", "old", "house"]], layer=2)[0].vectors
    np.testing.assert_array_equal(after, base)


def test_the_bottleneck_is_behind_its_block(tiny_model: Path) -> None:
    model = hf.AutoModel.from_pretrained(tiny_model, add_pooling_layer=False).eval()
    ids = torch.tensor([[0, 5, 6, 2]])
    adapter: Any = LanguageAdapter(
        AdapterSettings(invertible=False), blocks=2, dim=16, embedding_dim=16
    )
    shift = torch.arange(16.0)
    adapter.blocks[1].up.bias.data.copy_(shift)  # whatever comes, it adds 0 to 15
    with torch.inference_mode():
        before = model(ids).last_hidden_state
        adapter.install(model)
        torch.testing.assert_close(model(ids).last_hidden_state, before + shift)


def test_the_invertible_adapter_and_its_inverse_stand_at_the_embeddings(masked: Any) -> None:
    adapter: Any = add_language_adapter(masked, AdapterSettings())
    for half in (adapter.invertible.first, adapter.invertible.second):
        half.up.bias.data.copy_(torch.arange(8.0))
    shift = torch.arange(8.0).repeat(2)
    words, output = masked.get_input_embeddings(), masked.get_output_embeddings()
    ids, states = torch.tensor([5, 6]), torch.randn(3, 16)
    torch.testing.assert_close(words(ids), words.weight[ids] + shift)
    torch.testing.assert_close(output(states), (states - shift) @ words.weight.T + output.bias)


def test_an_adapter_is_trained_and_its_model_is_not(masked: Any) -> None:
    for parameter in masked.parameters():
        parameter.requires_grad_(False)
    adapter = add_language_adapter(masked, AdapterSettings())
    ids = torch.tensor([[0, 5, 6, 2]])
    masked(ids, labels=ids).loss.backward()
    ups = [name for name, p in adapter.named_parameters() if p.grad is not None and p.grad.any()]
    assert ups == [name for name, _ in adapter.named_parameters() if ".up." in name]
    assert all(parameter.grad is None for parameter in masked.parameters())
    with pytest.raises(InputError, match="the adapter is installed already"):
        adapter.install(masked)


@pytest.mark.parametrize(
    "config",
    [
        hf.AlbertConfig(
            hidden_size=16, embedding_size=8, num_attention_heads=2, num_hidden_layers=2
        ),
        hf.ModernBertConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        ),
        hf.T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2),
        hf.BartConfig(d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2),
    ],
    ids=lambda config: str(config.model_type),
)
def test_an_adapter_fits_every_model_with_blocks(config: Any, tiny_model: Path, copy: Path) -> None:
    tokenizer = hf.AutoTokenizer.from_pretrained(tiny_model)
    config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    hf.AutoModel.from_config(config).save_pretrained(copy)
    key = ModelKey(str(copy))
    plain = load_checkpoint(key)
    base = [vectors(plain, layer) for layer in range(3)]
    adapter = add_language_adapter(plain.model, AdapterSettings())
    for layer in range(3):
        np.testing.assert_array_equal(vectors(plain, layer), base[layer])
    save_adapter(moved(adapter), copy)
    learnt = load_checkpoint(key)
    for layer in range(3):
        assert np.abs(vectors(learnt, layer) - base[layer]).max() > 1e-3


def test_a_model_without_whole_blocks_is_refused() -> None:
    model = hf.XLMModel(hf.XLMConfig(emb_dim=16, n_layers=3, n_heads=2, vocab_size=20))
    with pytest.raises(
        InputError, match="an? xlm model has no whole blocks to put adapters behind"
    ):
        add_language_adapter(model, AdapterSettings())


def test_an_adapter_of_another_model_or_with_other_keys(copy: Path, masked: Any) -> None:
    small = hf.BertModel(
        hf.BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1)
    )
    save_adapter(add_language_adapter(small, AdapterSettings()), copy)
    with pytest.raises(MismatchError, match=r"'blocks\.0\.down\.bias' has shape \(2,\), and the"):
        load_checkpoint(ModelKey(str(copy)))
    (copy / "adapter.json").write_text('{"reductoin": 2}')
    with pytest.raises(InputError, match=r"adapter\.json: reductoin: Extra inputs are not"):
        load_adapter(masked, copy)
    (copy / "adapter.json").write_text("{}")
    (copy / "adapter.safetensors").unlink()
    with pytest.raises(InputError, match=r"adapter\.safetensors cannot be read: "):
        load_adapter(masked, copy)


# --- transliteration


@pytest.mark.parametrize(
    ("text", "ascii_form", "latin_form"),
    [
        ("Привет, мир", "Privet, mir", "Privet, mir"),
        ("Straße", "Strasse", "Straße"),
        ("cafe\u0301", "cafe", "cafe\u0301"),  # a combining accent belongs to its Latin letter
        ("გამარჯობა", "gamarjoba", "gamarjoba"),
        ("", "", ""),
    ],
)
def test_transliterated_text(text: str, ascii_form: str, latin_form: str) -> None:
    assert (to_ascii(text), to_latin(text)) == (ascii_form, latin_form)


def test_words_keep_their_places(tokenizer: Any) -> None:
    """An ideograph may become several words' letters, a ligature several words."""
    words = ["дом", "\u200b", "﷽", "科学", "the"]
    splitter = SubwordSplitter(tokenizer, "latin")
    assert " " in to_latin("﷽")
    ids, word_of = splitter.words([words])[0]
    assert sorted(set(word_of.tolist())) == [0, 2, 3, 4]
    plain = SubwordSplitter(tokenizer)
    for place, word in [(0, "dom"), (4, "the")]:
        own = [number for number, at in zip(ids, word_of, strict=True) if at == place]
        assert own == plain.words([[word]])[0].ids
    assert splitter.texts(["дом the"])[0].ids == plain.texts(["dom the"])[0].ids


def test_a_preset_may_ask_for_transliteration(copy: Path) -> None:
    before = Encoder(load_checkpoint(ModelKey(str(copy))))
    (copy / "bitext.json").write_text('{"transliterate": "latin"}')
    after = Encoder(load_checkpoint(ModelKey(str(copy))))
    np.testing.assert_array_equal(after.sentences(["дом"]), before.sentences(["dom"]))
    assert np.abs(before.sentences(["дом"]) - before.sentences(["dom"])).max() > 0.01
    assert after.fingerprint != before.fingerprint  # an index of one is not searched with the other


def test_an_unknown_transform_is_named(tokenizer: Any, copy: Path) -> None:
    expected = "unknown transliteration 'Any-Latin'; choose one of: ascii, latin"
    with pytest.raises(UnknownNameError, match=expected):
        SubwordSplitter(tokenizer, "Any-Latin")
    (copy / "bitext.json").write_text('{"transliterate": "Any-Latin"}')
    assert fingerprint(copy)
    with pytest.raises(UnknownNameError, match=expected):
        Encoder(load_checkpoint(ModelKey(str(copy))))
