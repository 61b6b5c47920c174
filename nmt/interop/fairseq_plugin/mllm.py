"""A pretrained encoder's folder, as fairseq's modules name its parts; needs PyTorch, not fairseq.

XLM-R, RoBERTa and BERT folders of ``transformers`` are known. Their layers are fairseq's own: the
norm after each block, learned positions, one norm over the embeddings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FIRST_POSITION = {"xlm-roberta": 2, "roberta": 2, "camembert": 2, "bert": 0}
"""Kind of model -> the row of its position table that the first piece gets; fairseq's is 2."""

SPECIAL = {
    "<s>": ("<s>", "[CLS]"), "<pad>": ("<pad>", "[PAD]"), "</s>": ("</s>", "[SEP]"),
    "<unk>": ("<unk>", "[UNK]"),
}  # fmt: skip
"""fairseq's special symbols -> what models call them."""

LAYER = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn_layer_norm": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "output.LayerNorm",
}
"""fairseq's name of a layer's part -> that of ``transformers``."""


def read_config(folder: str | Path) -> dict[str, Any]:
    """The model's ``config.json``.

    :raises ValueError: if it is missing, or of a model that this does not know.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise ValueError(f"--mllm-path {folder}: there is no {path.name} in it")
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    kind = config.get("model_type")
    if kind not in FIRST_POSITION:
        known = ", ".join(sorted(FIRST_POSITION))
        raise ValueError(f"--mllm-path {folder} holds a {kind} model; known are: {known}")
    return config


def positions(config: Mapping[str, Any]) -> int:
    """How many pieces a sentence may have, the special ones included."""
    return int(config["max_position_embeddings"]) - FIRST_POSITION[config["model_type"]]


def read_pieces(folder: str | Path) -> dict[str, int]:
    """Piece -> row of the embeddings, from ``tokenizer.json``, special pieces included."""
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise ValueError(f"--mllm-path {folder}: there is no {path.name} in it")
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    if isinstance(vocabulary, list):  # unigram: [piece, score] in the order of ids
        vocabulary = {piece: i for i, (piece, _) in enumerate(vocabulary)}
    added = {token["content"]: token["id"] for token in tokenizer.get("added_tokens", [])}
    return {**vocabulary, **added}


def read_weights(folder: str | Path) -> dict[str, Tensor]:
    """The encoder's tensors in float32, named from ``embeddings.`` and ``encoder.`` on."""
    from safetensors.torch import load_file

    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise ValueError(f"--mllm-path {folder}: there are no weights (*.safetensors) in it")
    found = {name: tensor for file in files for name, tensor in load_file(file).items()}
    (first,) = (name for name in found if name.endswith("embeddings.word_embeddings.weight"))
    start = first.removesuffix("embeddings.word_embeddings.weight")
    # BERT's first checkpoints call a norm's weight and bias by Greek letters
    greek = {".gamma": ".weight", ".beta": ".bias"}
    named = {}
    for name, tensor in found.items():
        for old, new in greek.items():
            name = name.removesuffix(old) + new if name.endswith(old) else name
        named[name.removeprefix(start)] = tensor.float()
    return named


def position_rows(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> Tensor:
    """fairseq's position table, shape (positions + 2, dim): two rows unused, then the positions.

    What every piece gets as a token of the first segment is added to its position.
    """
    first = FIRST_POSITION[config["model_type"]]
    rows = weights["embeddings.position_embeddings.weight"][first:]
    segments = weights.get("embeddings.token_type_embeddings.weight")
    if segments is not None:
        rows = rows + segments[0]
    return torch.cat([torch.zeros(2, rows.shape[1]), rows])


def spread(layers: int, wanted: int) -> list[int]:
    """Which of a model's layers a stack of ``wanted`` takes: all, or evenly the first to the last.

    Example: 3 of 12 are 0, 6 and 11 (5.5 is rounded to the even number).
    """
    if wanted > layers:
        raise ValueError(f"{wanted} layers were asked for, and the MLLM has {layers}")
    if wanted == 1:
        return [layers - 1]
    return [round(i * (layers - 1) / (wanted - 1)) for i in range(wanted)]


def layer_tensors(weights: Mapping[str, Tensor], layer: int) -> dict[str, Tensor]:
    """The tensors of one layer by fairseq's names, such as ``self_attn.q_proj.weight``."""
    return {
        f"{ours}.{part}": weights[f"encoder.layer.{layer}.{theirs}.{part}"]
        for ours, theirs in LAYER.items()
        for part in ("weight", "bias")
    }


def cross_tensors(layer: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Attention to the source that starts as a copy of a layer's attention to itself."""
    return {
        name.replace("self_attn", "encoder_attn"): tensor
        for name, tensor in layer.items()
        if name.startswith("self_attn")
    }


def embedding_rows(symbols: Sequence[str], pieces: Mapping[str, int]) -> dict[int, int]:
    """Id of a dictionary's symbol -> row of the model's embeddings, where the model knows it."""
    rows = {}
    for i, symbol in enumerate(symbols):
        for name in SPECIAL.get(symbol, (symbol,)):
            if name in pieces:
                rows[i] = pieces[name]
    return rows
