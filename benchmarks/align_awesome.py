"""awesome-align's ``word_align`` as a worker of bench_align.py.

Its Python needs torch, safetensors and what its requirements.txt names, and finds the sources by
PYTHONPATH. Batches of 32 pairs, softmax and 0.001 are its defaults; no worker processes, whose
processor time would not be counted. The method asked for is not looked at.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from align_worker import Links, Pair, Pass, serve


def load(job: Mapping[str, Any]) -> Pass:
    import torch
    from awesome_align import modeling, run_align  # type: ignore[import-not-found]
    from awesome_align.configuration_bert import BertConfig  # type: ignore[import-not-found]
    from awesome_align.tokenization_bert import BertTokenizer  # type: ignore[import-not-found]
    from safetensors.torch import load_file

    tokenizer = BertTokenizer(str(Path(job["model"]) / "vocab.txt"), do_lower_case=False)
    tokenizer.max_len = 512
    modeling.PAD_ID = tokenizer.pad_token_id
    modeling.CLS_ID = tokenizer.cls_token_id
    modeling.SEP_ID = tokenizer.sep_token_id
    folder = tempfile.mkdtemp(dir=job["scratch"])
    configuration = BertConfig.from_json_file(str(Path(job["model"]) / "config.json"))
    model = modeling.BertForMaskedLM(configuration)
    weights = load_file(Path(job["model"]) / "model.safetensors")
    missing = model.bert.load_state_dict(weights, strict=False).missing_keys
    assert not missing, missing
    arguments = Namespace(
        data_file=str(Path(folder) / "pairs"),
        output_file=str(Path(folder) / "links"),
        output_prob_file=None,
        output_word_file=None,
        num_workers=0,
        batch_size=32,
        device=torch.device("cpu"),
        align_layer=job["layer"],
        extraction="softmax",
        softmax_threshold=0.001,
    )

    def align(pairs: Sequence[Pair], methods: Sequence[str]) -> Links:
        lines = [f"{' '.join(source)} ||| {' '.join(target)}\n" for source, target in pairs]
        Path(arguments.data_file).write_text("".join(lines), encoding="utf-8")
        run_align.word_align(arguments, model, tokenizer)
        out = Path(arguments.output_file).read_text(encoding="utf-8").split("\n")[: len(pairs)]
        return {"softmax": [[list(map(int, s.split("-"))) for s in ln.split()] for ln in out]}

    return align


if __name__ == "__main__":
    serve(load)
