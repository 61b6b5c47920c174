"""Align documents with vecalign 2.0, from the same vectors: a worker run with vecalign's Python.

VECALIGN_PYTHON benchmarks/align_vecalign.py MOST FILE.npz ... > BEADS.json

Each file holds ``source`` and ``target``, shape (spans, sentences, dim). Settings are vecalign's
own; its random numbers are seeded as its command seeds them.
"""

import json
import random
import resource
import sys
import time
from math import ceil

import numpy as np
from vecalign.dp_utils import make_alignment_types, vecalign


def main() -> None:
    most, files = int(sys.argv[1]), sys.argv[2:]
    for file in files:
        loaded = np.load(file)
        source, target = loaded["source"], loaded["target"]
        random.seed(42)
        np.random.seed(42)
        began = time.process_time()
        stack = vecalign(
            vecs0=source,
            vecs1=target,
            final_alignment_types=make_alignment_types(most),
            del_percentile_frac=0.2,
            width_over2=ceil(most / 2) + 5,
            max_size_full_dp=300,
            costs_sample_size=20000,
            num_samps_for_norm=100,
        )
        seconds = time.process_time() - began
        beads = [[list(x), list(y)] for x, y in stack[0]["final_alignments"]]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps({"beads": beads, "seconds": seconds, "mib": peak}))


if __name__ == "__main__":
    main()
