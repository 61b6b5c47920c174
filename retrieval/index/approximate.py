"""Approximate search: FAISS's lists, graphs and quantised vectors, over slots that count from 0.

FAISS finds candidates; their cosines are computed again from exact vectors where there are some:
those that FAISS keeps itself (``ivf``, ``hnsw``), or those that the caller gives. Where there are
none (``pq``, ``opq``), scores are those of the vectors that the bytes stand for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np

from bitext.errors import InputError
from retrieval.index.exact import SPARE, best, selector
from retrieval.index.kinds import CODES, Kind
from retrieval.index.slots import Ids, Mask
from retrieval.index.unit_rows import blocks
from retrieval.vectors.files import Rows

RowsOf = Callable[[Ids], Rows]
"""From ids to their exact vectors, shape (ids, dim): a look into a mapped file, for instance."""

GPU_MOST = 2048
"""Candidates that FAISS can fetch on a GPU."""
CODE_SAMPLE = 64
"""Vectors that each value of a byte is trained on."""
SCAN_SHARE = 4
"""Where fewer than one slot in so many may be found, a graph is not walked: it leads elsewhere."""


class Approximate:
    """A FAISS index that was trained and may be searched; vector ``i`` is slot ``i``."""

    def __init__(self, index: Any, spare: int, device: str = "cpu") -> None:
        """:param spare: candidates beyond ``k``.
        :param device: ``cpu``, or a GPU for FAISS, from :func:`gpu_number`.
        """
        self.faiss = index
        self.spare = spare
        self._core = core_of(index)
        self._turns = turns_of(index)
        self._gpu = gpu_number(device) if device != "cpu" else None
        self._on_gpu: Any = None  # a copy, made when it is needed
        self._gpu_free = threading.Lock()  # FAISS searches there for one thread at a time

    @classmethod
    def train(cls, kind: Kind, rows: Rows, count: int, device: str = "cpu") -> Approximate:
        """An empty index.

        :param rows: a sample to train on, shape (rows, dim).
        :param count: how many vectors will come, as far as is known.
        """
        index = make(kind, count, rows.shape[1])
        core = core_of(index)
        _configure(index, kind)
        index.train(rows)
        if isinstance(core, faiss.IndexIVF):
            core.make_direct_map()  # from a slot to its vector
        return cls(index, kind.setting("spare"), device)

    def add(self, rows: Rows) -> None:
        if isinstance(self._core, faiss.IndexIVF):
            self._add_to_lists(rows)
        else:
            for block in blocks(rows):
                self.faiss.add(block)
        self._on_gpu = None

    def nearest(
        self, queries: Rows, k: int, ids: Ids, allowed: Mask | None, rows_of: RowsOf | None = None
    ) -> tuple[Rows, Ids]:
        """Scores and ids of the best ``k`` found for each query, both of shape (queries, k).

        A query for which fewer are found, such as one whose lists are nearly empty, is compared
        with everything.

        :param ids: of each slot.
        :param allowed: where to look, ``k`` slots at least; ``None`` for everywhere.
        """
        there = len(ids) if allowed is None else int(allowed.sum())
        spare = self.spare if rows_of else min(self.spare, SPARE)  # more serves exact vectors only
        fetched = min(k + spare, there)
        slots = self._find(queries, fetched, allowed, SCAN_SHARE * there >= len(ids))
        short = (slots >= 0).sum(axis=1) < k
        if short.any():
            slots[short] = self._find_anywhere(queries[short], fetched, allowed)
        missing = slots < 0
        slots[missing] = slots.max()  # any that is there
        near = self._rows(slots.ravel(), ids, rows_of).reshape(*slots.shape, self.faiss.d)
        return best(queries, near, ids[slots], k, missing)

    def shrink(self, kept: Ids) -> bool:
        """Forget all slots but ``kept``, which are in order; false if FAISS cannot."""
        if isinstance(self._core, faiss.IndexHNSW):
            return False
        gone = np.ones(self.faiss.ntotal, np.bool_)
        gone[kept] = False
        if isinstance(self._core, faiss.IndexIVF):
            self._core.set_direct_map_type(faiss.DirectMap.NoMap)
            self.faiss.remove_ids(selector(gone))
            self._renumber(np.cumsum(~gone) - 1)
            self._core.make_direct_map()
        else:
            self.faiss.remove_ids(selector(gone))  # moves the others up
        self._on_gpu = None
        return True

    def _add_to_lists(self, rows: Rows) -> None:
        """Lists that grow by doubling would take half as much again: count first, then fill."""
        turned = (self._turn(block) for block in blocks(rows))
        lists = [self._core.quantizer.assign(block, 1).ravel() for block in turned]
        if lists and len(rows) > self.faiss.ntotal:
            self._make_room(np.bincount(np.concatenate(lists), minlength=self._core.nlist))
        for block, numbers in zip(map(self._turn, blocks(rows)), lists, strict=True):
            pointer = faiss.swig_ptr(numbers)
            self._core.add_core(len(block), faiss.swig_ptr(block), None, pointer)
        self.faiss.ntotal = self._core.ntotal

    def _make_room(self, more: Ids) -> None:
        """Let list ``i`` take ``more[i]`` vectors without moving."""
        lists = self._core.invlists
        for number in np.flatnonzero(more).tolist():
            size = lists.list_size(number)
            lists.resize(number, size + int(more[number]))
            lists.resize(number, size)  # keeps what it has taken

    def _turn(self, rows: Rows) -> Rows:
        """Rows as the lists take them."""
        for turn in self._turns:
            rows = turn.apply(rows)
        return rows

    def _renumber(self, new: Ids) -> None:
        """Call slot ``i`` of every list ``new[i]``."""
        lists = self._core.invlists
        for number in range(self._core.nlist):
            if size := lists.list_size(number):
                slots = faiss.rev_swig_ptr(lists.get_ids(number), size)
                slots[:] = new[slots]

    def _find(self, queries: Rows, fetched: int, allowed: Mask | None, walk: bool) -> Ids:
        """Slots of candidates, shape (queries, fetched); -1 where there are too few."""
        if self._gpu is not None and allowed is None and fetched <= GPU_MOST:
            with self._gpu_free:
                return np.array(self._copy_on_gpu().search(queries, fetched)[1])
        chosen = None if allowed is None else selector(allowed)
        parameters: Any
        if isinstance(self._core, faiss.IndexIVF):
            parameters = faiss.SearchParametersIVF(sel=chosen, nprobe=self._core.nprobe)
        elif isinstance(self._core, faiss.IndexHNSW):
            if not walk:
                return self._find_anywhere(queries, fetched, allowed)
            width = max(self._core.hnsw.efSearch, fetched)
            parameters = faiss.SearchParametersHNSW(sel=chosen, efSearch=width)
        else:
            parameters = faiss.SearchParameters(sel=chosen)
        return np.array(self.faiss.search(queries, fetched, params=parameters)[1])

    def _find_anywhere(self, queries: Rows, fetched: int, allowed: Mask | None) -> Ids:
        """The same, comparing with every vector: there are enough."""
        chosen = None if allowed is None else selector(allowed)
        index = self.faiss
        if isinstance(self._core, faiss.IndexIVF):
            parameters = faiss.SearchParametersIVF(sel=chosen, nprobe=self._core.nlist)
        else:
            parameters = faiss.SearchParameters(sel=chosen)
            if isinstance(self._core, faiss.IndexHNSW):
                index = self._core.storage
        return np.array(index.search(queries, fetched, params=parameters)[1])

    def _rows(self, slots: Ids, ids: Ids, rows_of: RowsOf | None) -> Rows:
        """The vector of each slot: the exact one if the caller has it, else FAISS's."""
        unique, places = np.unique(slots, return_inverse=True)
        if rows_of is None:
            rows: Rows = self._core.reconstruct_batch(unique)
            for turn in reversed(self._turns):
                rows = turn.reverse_transform(rows)
        else:
            rows = np.asarray(rows_of(ids[unique]), np.float32)
            if rows.shape != (len(unique), self.faiss.d):
                raise InputError(
                    f"{len(unique)} ids have vectors of shape {(len(unique), self.faiss.d)}; "
                    f"the caller gave {rows.shape}"
                )
        return rows[places.ravel()]

    def _copy_on_gpu(self) -> Any:
        if self._on_gpu is None:
            resources = faiss.StandardGpuResources()
            self._on_gpu = faiss.index_cpu_to_gpu(resources, self._gpu, self.faiss)
        return self._on_gpu


def core_of(index: Any) -> Any:
    """What searches in ``index``, behind a transformation of vectors."""
    return faiss.downcast_index(
        index.index if isinstance(index, faiss.IndexPreTransform) else index
    )


def turns_of(index: Any) -> list[Any]:
    """The transformations before it, in order."""
    if not isinstance(index, faiss.IndexPreTransform):
        return []
    return [
        faiss.downcast_VectorTransform(index.chain.at(place)) for place in range(index.chain.size())
    ]


def make(kind: Kind, count: int, dim: int) -> Any:
    """An untrained FAISS index.

    :raises InputError: if FAISS cannot make it, or it cannot do what an index here must.
    """
    text = kind.faiss(count, dim)
    try:
        index = faiss.index_factory(dim, text, faiss.METRIC_INNER_PRODUCT)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"FAISS makes no index from '{text}' for vectors of dim {dim}; see its index factory, "
            "or choose one of: auto, flat, hnsw, ivf, opq, pq"
        ) from error
    core = core_of(index)
    graph = isinstance(index, (faiss.IndexHNSWFlat, faiss.IndexHNSWSQ))
    if not (
        graph or isinstance(core, (faiss.IndexIVF, faiss.IndexFlat, faiss.IndexScalarQuantizer))
    ):
        raise InputError(
            f"'{text}' cannot be searched among chosen ids; of FAISS's indexes, those with lists "
            "(IVF...), HNSW..., SQ... and Flat can"
        )
    return index


def _configure(index: Any, kind: Kind) -> None:
    """Settings that the factory does not take."""
    core = core_of(index)
    if isinstance(core, faiss.IndexHNSW) and kind.name == "hnsw":
        core.hnsw.efConstruction = kind.setting("construction")
        core.hnsw.efSearch = kind.setting("width")
    if isinstance(core, faiss.IndexIVF):
        core.nprobe = kind.setting("probes") or min(32, core.nlist)
        _take_all(core.cp)
    if hasattr(core, "pq"):
        _take_all(core.pq.cp, CODE_SAMPLE)
        # Renaming codes so that their bits tell distances takes long and serves another search.
        core.do_polysemous_training = False
    for turn in turns_of(index):
        if isinstance(turn, faiss.OPQMatrix):
            # FAISS's 50, 40 and 4 take five times as long.
            turn.niter, turn.niter_pq_0, turn.niter_pq = 8, 10, 2
            turn.max_train_points = CODE_SAMPLE * CODES
            pq = faiss.ProductQuantizer(turn.d_in, turn.M, 8)
            _take_all(pq.cp, CODE_SAMPLE)
            turn.pq = turn.kept_alive = pq  # FAISS itself keeps a bare pointer


def _take_all(clustering: Any, most: int = 2**20) -> None:
    """The sample was chosen with care: FAISS is not to warn that it is small.

    :param most: points a centre.
    """
    clustering.min_points_per_centroid = 1
    clustering.max_points_per_centroid = most


def gpu_number(device: str) -> int:
    """Which GPU FAISS is to use for ``device``: ``cuda`` or ``cuda:1``.

    :raises InputError: if it is not there, or this FAISS knows no GPUs.
    """
    name, _, number = device.partition(":")
    if name != "cuda" or not (number or "0").isdecimal():
        raise InputError(
            f"an approximate index searches on cpu, cuda or cuda:1, ..., not on '{device}'"
        )
    seen = getattr(faiss, "get_num_gpus", lambda: 0)()
    if int(number or 0) >= seen:
        raise InputError(
            f"device '{device}' is not there for an approximate index: FAISS {faiss.__version__} "
            f"sees {seen} GPUs; kind 'flat' searches through torch, and `make run GPU=1` installs "
            "FAISS for GPUs"
        )
    return int(number or 0)
