"""The threads that FAISS may use."""

from __future__ import annotations

import os

import faiss

_threads = faiss.omp_get_max_threads()  # OMP_NUM_THREADS, or the cores there are
if hasattr(os, "sched_getaffinity"):
    _threads = min(_threads, len(os.sched_getaffinity(0)))


def _forget_threads() -> None:
    """FAISS's threads do not survive a fork, and a search that waits for them never ends."""
    global _threads
    _threads = 1


os.register_at_fork(after_in_child=_forget_threads)


def use_threads() -> None:
    """Let FAISS use them for this thread: OpenMP keeps the number for each thread apart."""
    faiss.omp_set_num_threads(_threads)
