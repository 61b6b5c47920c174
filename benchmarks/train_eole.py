"""``eole train`` as a worker of bench_train_translation.py; its Python needs Eole 0.6 and aiohttp.

Eole's own Transformer, normalised before each block, with its sinusoidal positions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from train_turns import Turns


def settings(folder: Path, size: dict[str, int]) -> dict[str, Any]:
    corpus = {"path_src": str(folder / "train.en"), "path_tgt": str(folder / "train.de")}
    return {
        "seed": 1,
        "data": {"corpus": corpus},
        "src_vocab": str(folder / "eole.vocab"),
        "tgt_vocab": str(folder / "eole.vocab"),
        "share_vocab": True,
        "src_vocab_size": size["pieces"],
        "tgt_vocab_size": size["pieces"],
        "vocab_size_multiple": 8,
        "bos_token": "1000000",
        "eos_token": "2",
        "pad_token": "1",
        "unk_token": "3",
        "decoder_start_token": "2",
        "transforms": [],
        "model": {
            "architecture": "transformer",
            "layers": size["layers"],
            "hidden_size": size["dim"],
            "word_vec_size": size["dim"],
            "heads": size["heads"],
            "transformer_ff": size["feed_forward"],
            "embeddings": {
                "word_vec_size": size["dim"],
                "position_encoding_type": "SinusoidalInterleaved",
            },
            "mlp_activation_fn": "gelu",
            "add_qkvbias": True,
            "add_ffnbias": True,
            "share_embeddings": True,
            "share_decoder_embeddings": True,
        },
        "training": {
            "model_path": str(folder / "eole.model"),
            "batch_type": "tokens",
            "batch_size": 2048,
            "accum_count": [1],
            "normalization": "tokens",
            "bucket_size": 30_000,
            "num_workers": 0,
            "train_steps": 1_000_000,
            "save_checkpoint_steps": 1_000_000,
            "valid_steps": 1_000_000,
            "optim": "adamw",
            "weight_decay": 0.01,
            "learning_rate": 1e-4,
            "max_grad_norm": 1.0,
            "dropout": [0.1],
            "attention_dropout": [0.0],
            "label_smoothing": 0.1,
            "compute_dtype": "fp32",
            "world_size": 1,
            "gpu_ranks": [],
        },
    }


def main() -> None:
    turns = Turns()
    folder = Path(turns.job["folder"])
    from eole.bin.main import main as run
    from eole.trainer import Trainer

    step = Trainer._train_step

    def counted_step(self: Any, batches: list[Any], *rest: Any, **more: Any) -> Any:
        output = step(self, batches, *rest, **more)
        pad = self.train_loss.padding_idx
        source = sum(int(one["srclen"].sum()) for one in batches)
        turns.updated(source, sum(int((one["tgt"][:, 1:] != pad).sum()) for one in batches))
        return output

    Trainer._train_step = counted_step
    config = folder / "eole.yaml"
    config.write_text(json.dumps(settings(folder, turns.job["size"])), encoding="utf-8")
    sys.argv = ["eole", "train", "-config", str(config)]
    run()


if __name__ == "__main__":
    main()
