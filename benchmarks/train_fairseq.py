"""``fairseq-train`` as a worker of bench_train_translation.py.

Its Python needs fairseq 0.12.2, and finds the shim by PYTHONPATH. fairseq's ``transformer`` in the
shape of BART: learned positions, normalised embeddings, GELU.
"""

from __future__ import annotations

import sys
from typing import Any

from train_turns import Turns


def main() -> None:
    turns = Turns()
    job, size = turns.job, turns.job["size"]
    import shim  # type: ignore[import-not-found]

    shim.prepare()
    from fairseq.trainer import Trainer
    from fairseq_cli import train

    shim.repair()
    step = Trainer.train_step

    def counted_step(self: Any, samples: list[Any], *rest: Any, **more: Any) -> Any:
        output = step(self, samples, *rest, **more)
        source = sum(int(one["net_input"]["src_lengths"].sum()) for one in samples)
        turns.updated(source, sum(one["ntokens"] for one in samples))
        return output

    Trainer.train_step = counted_step
    layers, dim, wide, heads = (
        str(size[name]) for name in ("layers", "dim", "feed_forward", "heads")
    )
    sides = []
    for side in ("encoder", "decoder"):
        sides += [f"--{side}-layers", layers, f"--{side}-embed-dim", dim]
        sides += [f"--{side}-ffn-embed-dim", wide, f"--{side}-attention-heads", heads]
        sides += [f"--{side}-learned-pos"]
    sys.argv = [
        *("fairseq-train", f"{job['folder']}/fairseq", "-s", "en", "-t", "de", "--cpu"),
        *("--task", "translation", "--arch", "transformer", *sides, "--share-all-embeddings"),
        *("--layernorm-embedding", "--no-scale-embedding", "--activation-fn", "gelu"),
        *("--max-source-positions", "256", "--max-target-positions", "256", "--dropout", "0.1"),
        *("--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1"),
        *("--optimizer", "adam", "--adam-betas", "(0.9, 0.98)", "--weight-decay", "0.01"),
        *("--lr", "0.0001", "--clip-norm", "1", "--max-tokens", "2048"),
        *("--valid-subset", "train"),  # one must be there, though it is not looked at
        *("--num-workers", "0", "--no-save", "--disable-validation", "--no-progress-bar"),
    ]
    train.cli_main()


if __name__ == "__main__":
    main()
