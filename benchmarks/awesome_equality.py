"""Are our softmax and entmax links awesome-align's? Gives both the same hidden states.

awesome-align is not among this project's dependencies; its extraction runs in an environment of its
own (torch, boto3, requests, tqdm, and its repository on PYTHONPATH), in three steps:

    python benchmarks/awesome_equality.py states states.npz --sets enfr deen zhen      # here
    PYTHONPATH=AWESOME OTHER/bin/python benchmarks/awesome_equality.py awesome states.npz links.npz
    python benchmarks/awesome_equality.py compare states.npz links.npz                 # here

The second step imports nothing of this project and runs awesome-align's own ``BertGuideHead``.
Hidden states are those of the model's pieces, as they are and ``--scales`` times as long: the
longer they are, the sharper awesome-align's probabilities.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
CLS, SEP, PIECE = 101, 102, 1  # its own marks, and any other piece
# extraction -> threshold; entmax has its own, 0
EXTRACTIONS = {"softmax": 0.001, "entmax": 0.0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=["states", "awesome", "compare"])
    parser.add_argument("states", type=Path)
    parser.add_argument("links", type=Path, nargs="?")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--sets", nargs="+", default=["enfr", "deen", "zhen"])
    parser.add_argument("--scales", nargs="+", type=float, default=[1.0, 4.0])
    options = parser.parse_args()
    if options.step == "states":
        save(options.states, make_states(options.model, options.sets, options.scales))
        return 0
    if options.links is None:
        parser.error(f"{options.step} needs the file of links too")
    states = load(options.states)
    if options.step == "awesome":
        save(options.links, extract_with_awesome(states))
        return 0
    return compare(states, load(options.links))


def make_states(model: str, sets: list[str], scales: list[float]) -> dict[str, Array]:
    """``scale/set/number/source`` and ``.../target`` -> hidden states of pieces."""
    from alignment_quality import read_pairs

    from aligners.aligner import Aligner
    from bitext.text import data_folder
    from encoders.registry import default_registry

    encoder = default_registry().encoder(model)
    layer = Aligner(encoder).layer
    states = {}
    for name in sets:
        pairs = read_pairs(data_folder() / "alignment", name)
        for side in ("source", "target"):
            pieces = encoder.pieces([getattr(pair, side) for pair in pairs], layer=layer)
            for number, each in enumerate(pieces):
                for scale in scales:
                    key = f"{scale:g}/{name}/{number}/{side}"
                    states[key] = each.vectors * np.float32(scale)
    return states


def extract_with_awesome(states: Mapping[str, Array]) -> dict[str, Array]:
    import torch
    from awesome_align import modeling  # type: ignore[import-not-found]

    modeling.PAD_ID, modeling.CLS_ID, modeling.SEP_ID = 0, CLS, SEP
    head = modeling.BertGuideHead(None)
    links = {}
    for pair in pairs_of(states):
        hidden, inputs = [], []
        for side in ("source", "target"):
            vectors = torch.from_numpy(states[f"{pair}/{side}"])
            edge = torch.zeros(1, vectors.shape[1])
            hidden.append(torch.cat([edge, vectors, edge])[None])
            inputs.append(torch.tensor([[CLS, *[PIECE] * len(vectors), SEP]]))
        for extraction, threshold in EXTRACTIONS.items():
            found = head(*hidden, *inputs, extraction=extraction, softmax_threshold=threshold)
            links[f"{extraction}/{pair}"] = found[0, 0, 1:-1, 1:-1].bool().numpy()
    return links


def compare(states: Mapping[str, Array], theirs: Mapping[str, Array]) -> int:
    from aligners.probability import entmax, intersection
    from aligners.similarity import dot

    different = 0
    for extraction, threshold in EXTRACTIONS.items():
        matcher: Any = intersection if extraction == "softmax" else entmax
        same: dict[str, list[bool]] = {}
        links: dict[str, int] = {}
        for pair in pairs_of(states):
            expected = theirs[f"{extraction}/{pair}"]
            dots = dot(states[f"{pair}/source"], states[f"{pair}/target"])
            found = matcher(dots, temperature=1.0, threshold=threshold)
            scale = pair.split("/")[0]
            same.setdefault(scale, []).append(bool(np.array_equal(found, expected)))
            links[scale] = links.get(scale, 0) + int(expected.sum())
            if not same[scale][-1]:
                print(f"{extraction}, {pair}: {np.argwhere(found != expected).tolist()}")
        for scale, each in same.items():
            print(
                f"{extraction}, states times {scale}: identical {sum(each)} of {len(each)} pairs, "
                f"{links[scale]} links"
            )
            different += len(each) - sum(each)
    return 1 if different else 0


def pairs_of(states: Mapping[str, Array]) -> list[str]:
    """The keys without their side, of pairs that have pieces on both."""
    pairs = dict.fromkeys(key.rsplit("/", 1)[0] for key in states)
    return [p for p in pairs if len(states[f"{p}/source"]) and len(states[f"{p}/target"])]


def save(path: Path, arrays: Mapping[str, Array]) -> None:
    named: dict[str, Any] = dict(arrays)
    np.savez(path, **named)


def load(path: Path) -> dict[str, Array]:
    with np.load(path) as stored:
        return dict(stored)


if __name__ == "__main__":
    sys.exit(main())
