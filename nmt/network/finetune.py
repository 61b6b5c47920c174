"""An existing encoder–decoder as the start of a training run, whole, or with fewer pieces."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from bitext.errors import InputError
from encoders.checkpoint import reading
from encoders.hub import find_folder, fingerprint
from nmt.network.fused import FusedConfig
from nmt.network.initialize import Report
from nmt.pieces.hub_codec import HubCodec, bound_of, hub_codec
from nmt.pieces.tokenization import TaggedCodec, TranslationSettings, read_settings
from nmt.pieces.vocabulary import trim_written
from nmt.training.config import InitializeSettings, ModelSettings, TrainConfig

_SAFELY: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_SIZES = {
    "dim": ("d_model",),
    "heads": ("encoder_attention_heads", "num_heads"),
    "feed_forward": ("encoder_ffn_dim", "d_ff"),
    "encoder_layers": ("encoder_layers", "num_layers"),
    "decoder_layers": ("decoder_layers", "num_decoder_layers"),
    "activation": ("activation_function", "dense_act_fn"),
}
"""Keys of [model], and what the families call them."""
_DROPOUTS = {
    "dropout": ("dropout", "dropout_rate"),
    "attention_dropout": ("attention_dropout",),
    "activation_dropout": ("activation_dropout",),
}
_IDS = (
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
)


@dataclass(frozen=True, slots=True)
class PretrainedTranslator:
    """An encoder–decoder on disk: its description, its weights not yet read."""

    name: str
    folder: Path
    config: Any
    tokenizer: Any


def find_translator(how: InitializeSettings) -> PretrainedTranslator | None:
    """The encoder–decoder that a config names; ``None`` if it names an encoder, or nothing.

    :raises ModelNotFoundError: if it is neither a folder nor in the local cache.
    :raises InputError: if its family is not known, or the config says how parts of it are used.
    """
    if how.model is None:
        return None
    folder = find_folder(how.model, how.revision)
    with reading(how.model):
        config = transformers.AutoConfig.from_pretrained(folder, **_SAFELY)
        if not config.is_encoder_decoder:
            return None
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **_SAFELY)
    parts = sorted(how.model_fields_set - {"model", "revision"})
    if parts:
        raise InputError(
            f"initialize.{parts[0]}: '{how.model}' is a whole encoder-decoder, which is taken as "
            "it is; leave the key out"
        )
    return PretrainedTranslator(how.model, folder, config, tokenizer)


def check_translator(found: PretrainedTranslator, config: TrainConfig) -> None:
    """See whether a config's sizes and vocabulary fit the checkpoint.

    :raises InputError: if they do not; the sentence names the key.
    """
    for key, names in _SIZES.items():
        wanted, own = getattr(config.model, key), _first(found.config, names)
        if wanted is not None and wanted != own:
            raise InputError(
                f"model.{key} is {wanted}, and checkpoint '{found.name}' has {own}; leave it out"
            )
    bound, wanted = bound_of(found.config, found.tokenizer), config.model.max_pieces
    if wanted is not None and wanted > bound:
        raise InputError(
            f"model.max_pieces is {wanted}, and checkpoint '{found.name}' takes {bound}"
        )
    if config.vocabulary.source == "corpus":
        raise InputError(
            f"vocabulary.source 'corpus': checkpoint '{found.name}' knows no other pieces than its "
            "own; choose 'auto' (all of them) or 'encoder' (those of the corpus)"
        )
    if config.vocabulary.tags != "auto":
        raise InputError(
            f"vocabulary.tags: checkpoint '{found.name}' has signs of its own for languages; "
            "leave the key out"
        )
    tag = next((one.tag for one in config.data.corpora if one.tag is not None), None)
    if tag is not None and getattr(found.tokenizer, "backend_tokenizer", None) is None:
        raise InputError(f"tag '{tag}': the tokenizer of '{found.name}' takes no new pieces")


def trim_tokenizer(
    found: PretrainedTranslator, texts: Iterable[str], *, min_count: int = 1
) -> tuple[Any, list[int]]:
    """The checkpoint's tokenizer, of the same class, with the pieces of these texts alone.

    Special pieces and languages all stay. The texts are segmented as before.

    :return: the tokenizer, and the old id of each of its pieces.
    :raises InputError: if its pieces depend on one another (M2M100, NLLB, Marian).
    """
    if getattr(found.tokenizer, "backend_tokenizer", None) is None:
        raise InputError(
            f"vocabulary.source 'encoder': the vocabulary of '{found.name}' cannot be trimmed; "
            "choose 'auto'"
        )
    written, kept = trim_written(found.tokenizer, texts, min_count=min_count)
    with tempfile.TemporaryDirectory() as folder, reading(found.name):
        found.tokenizer.save_pretrained(folder)
        described = json.dumps(written, ensure_ascii=False)
        (Path(folder) / "tokenizer.json").write_text(described, encoding="utf-8")
        made = transformers.AutoTokenizer.from_pretrained(folder, **_SAFELY)
    return made, kept


def start_from_translator(
    found: PretrainedTranslator,
    tokenizer: Any,
    kept: Sequence[int] | None,
    config: TrainConfig,
    languages: tuple[Sequence[str], Sequence[str]],
) -> tuple[Any, TaggedCodec | HubCodec, Report]:
    """The network that fine-tuning begins with, its codec, and the report.

    :param kept: the checkpoint's id of each piece, if its vocabulary was trimmed.
    :param languages: of source and target, as the config names them.
    :raises UnknownNameError: if the checkpoint does not know a language.
    """
    described = _with_dropouts(found.config, config.model)
    with reading(found.name):
        model: Any = transformers.AutoModelForSeq2SeqLM.from_pretrained(
            found.folder, config=described, dtype=torch.float32, use_safetensors=True, **_SAFELY
        )
    report = Report(found.name, fingerprint(found.folder))
    for name, _ in model.named_parameters():
        report.add(name, "copied", name)
    if kept is not None:
        rows = model.get_input_embeddings().num_embeddings
        trim_network(model, list(kept))
        report.notes.append(f"{len(kept)} of {rows} pieces are kept")
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer))
        report.notes.append(f"resized to {len(tokenizer)} pieces, for tags of corpora")
    earlier = read_settings(found.folder)
    if earlier is not None and earlier.tags != "checkpoint":
        return model, _own_codec(model, tokenizer, earlier, languages), report
    bound = config.model.max_pieces or bound_of(found.config, tokenizer)
    tuned = TranslationSettings(
        source_langs=tuple(languages[0]),
        target_langs=tuple(languages[1]),
        tags="checkpoint",
        max_source=bound,
        max_target=bound,
    )
    # tuned here before, perhaps, for directions of its own
    base = hub_codec(found.name, tokenizer, model.config, earlier)
    for source in languages[0]:
        for target in languages[1]:
            base.source([], source, target)
    codec = hub_codec(found.name, tokenizer, model.config, tuned)
    _set_beginning(model, codec, languages[1])
    return model, codec, report


def _own_codec(
    model: Any,
    tokenizer: Any,
    settings: TranslationSettings,
    languages: tuple[Sequence[str], Sequence[str]],
) -> TaggedCodec:
    """The codec of a model that was trained here, which keeps its languages and signs."""
    codec = TaggedCodec(tokenizer, settings)
    for source in languages[0]:
        for target in languages[1]:
            codec.source([], source, target)  # does it know them?
    if isinstance(model.config, FusedConfig):
        model.read_with(codec.text)
    return codec


def trim_network(model: Any, kept: Sequence[int]) -> None:
    """Keep these rows of the embeddings and the output layer, in this order."""
    rows = torch.tensor(list(kept))
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    with torch.no_grad():
        output = model.get_output_embeddings().weight[rows].clone()
        table = model.get_input_embeddings().weight[rows].clone()
    bias = getattr(model, "final_logits_bias", None)
    old_ids = {name: getattr(model.config, name, None) for name in _IDS}
    model.resize_token_embeddings(len(rows), mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(table)
        if not tied:
            model.get_output_embeddings().weight.copy_(output)
    if bias is not None:
        model.final_logits_bias = nn.Buffer(bias[:, rows].clone())
    padding = model.get_input_embeddings().padding_idx
    new_id = {old: new for new, old in enumerate(kept)}
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.num_embeddings == len(rows):
            module.padding_idx = None if padding is None else new_id[padding]
    for settings in (model.config, model.generation_config):
        for name in _IDS:
            old = getattr(settings, name, old_ids[name])
            if isinstance(old, int):
                setattr(settings, name, new_id[old])


def _set_beginning(model: Any, codec: HubCodec, targets: Sequence[str]) -> None:
    """Let plain ``generate`` begin as ours does, where there is one language to translate into."""
    before = codec.prefix(targets[0])
    one = len(targets) == 1
    for settings in (model.config, model.generation_config):
        settings.decoder_start_token_id = before[0] if one or len(before) > 1 else codec.start
    model.generation_config.forced_bos_token_id = before[1] if one and len(before) > 1 else None


def _with_dropouts(config: Any, settings: ModelSettings) -> Any:
    """The checkpoint's own rates, but for those that the config names."""
    config = copy.deepcopy(config)
    for key, names in _DROPOUTS.items():
        if key not in settings.model_fields_set:
            continue
        name = next((one for one in names if hasattr(config, one)), None)
        if name is None:
            raise InputError(f"model.{key}: a {config.model_type} model has no such rate")
        setattr(config, name, getattr(settings, key))
    return config


def _first(config: Any, names: Sequence[str]) -> Any:
    return next((getattr(config, one) for one in names if hasattr(config, one)), None)
