"""Links by optimal transport: how the mass of the source words is best moved onto the target's.

Three kinds of entropic transport (Arase, Bao & Yokoi, 2023, OTAlign), of a cost matrix C, source
weights a, target weights b and regularisation eps:

- ``balanced``: ``min <P, C> + eps KL(P | a b)``, all mass of both sides moved: ``P 1 = a``,
  ``P^T 1 = b``. Here the weights of each side are scaled to sum to 1.
- ``partial``: the same, but only ``mass * min(sum a, sum b)`` is moved, and no unit gives or takes
  more than its weight, so that units may stay without a partner.
- ``unbalanced``: weights may be missed and exceeded at a price,
  ``min <P, C> + eps KL(P | a b) + tau KL(P 1 | a) + tau KL(P^T 1 | b)``.

The regularising term of ``partial`` is the plan's own entropy, which is the same where all units of
a side weigh alike. All are solved by scaling rows and columns in turn, many pairs at once on padded
matrices. The plan is ``a_i b_j exp(f_i + g_j - C_ij / eps)``; only the potentials f and g, one
number a unit, are iterated, as logarithms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from aligners.matching import Links, argmax
from aligners.settings import Positive, PositiveShare, Reading, Scale, Share
from aligners.similarity import Similarity
from bitext.errors import InputError, UnknownNameError, choose_from

Costs = NDArray[np.floating[Any]]
"""Shape (source units, target units), smaller is closer."""
Floats = NDArray[np.float64]
Weights = Sequence[NDArray[np.floating[Any]]]
"""How much mass each unit of each sentence has, all above 0."""

KINDS = ("balanced", "partial", "unbalanced")
READINGS = get_args(Reading)
SCALES = get_args(Scale)

TOLERANCE = 1e-7
"""A pair is done when a step changes no potential by more."""
MOST_STEPS = 1000
"""A pair that is not done by then keeps the plan that it has."""
STEPS_BETWEEN_CHECKS = 10
BATCH_CELLS = 1 << 16
"""Cells of padded matrices solved together: half a megabyte, which stays in a core's cache."""
_LEAST = 1e-10
WIDEST_KERNEL = 200.0
"""The spread of ``C / eps`` up to which sums of exponentials are formed without shifting them."""


# --- matchers


def transport(
    similarities: Sequence[Similarity],
    *,
    regularisation: Positive = 0.06,
    threshold: Share = 0.4,
    reading: Reading = "threshold",
    scale: Scale = "shares",
) -> list[Links]:
    """Link what balanced transport moves: all mass of both sides, a unit weighing 1 / length.

    :param regularisation: eps, above 0; smaller makes plans nearer to one to one.
    :param threshold: of the scaled plan, 0 to 1.
    :param reading: one of ``READINGS``, see :func:`read`.
    :param scale: one of ``SCALES``, see :func:`costs_of` and :func:`scaled`.
    """
    costs = costs_of(similarities, scale)
    found = plans("balanced", costs, regularisation=regularisation)
    return read(found, threshold=threshold, reading=reading, scale=scale)


def partial(
    similarities: Sequence[Similarity],
    *,
    regularisation: Positive = 0.05,
    mass: PositiveShare = 0.95,
    threshold: Share = 0.4,
    reading: Reading = "threshold",
    scale: Scale = "shares",
) -> list[Links]:
    """Link what partial transport moves: a share of the units of the shorter side.

    :param regularisation: eps, above 0; smaller makes plans nearer to one to one.
    :param mass: the share that is moved, above 0 and at most 1.
    :param threshold: of the scaled plan, 0 to 1.
    :param reading: one of ``READINGS``, see :func:`read`.
    :param scale: one of ``SCALES``, see :func:`costs_of` and :func:`scaled`.
    """
    costs = costs_of(similarities, scale)
    found = plans("partial", costs, regularisation=regularisation, mass=mass)
    return read(found, threshold=threshold, reading=reading, scale=scale)


def unbalanced(
    similarities: Sequence[Similarity],
    *,
    regularisation: Positive = 0.04,
    tau: Positive = 0.05,
    threshold: Share = 0.5,
    reading: Reading = "threshold",
    scale: Scale = "shares",
) -> list[Links]:
    """Link what unbalanced transport moves: units give and take as much as it is worth.

    :param regularisation: eps, above 0; smaller makes plans nearer to one to one.
    :param tau: what it costs a unit to be left out or overfull, above 0.
    :param threshold: of the scaled plan, 0 to 1.
    :param reading: one of ``READINGS``, see :func:`read`.
    :param scale: one of ``SCALES``, see :func:`costs_of` and :func:`scaled`.
    """
    costs = costs_of(similarities, scale)
    found = plans("unbalanced", costs, regularisation=regularisation, tau=tau)
    return read(found, threshold=threshold, reading=reading, scale=scale)


def costs_of(similarities: Sequence[Similarity], scale: str) -> list[Floats]:
    """``1 - similarity``; with scale ``pair``, of similarities moved to 0 .. 1 in each pair.

    :raises UnknownNameError: if the scale does not exist.
    """
    _check_name("scale", scale, SCALES)
    if scale == "pair":
        return [1 - scaled_to_pair(similarity) for similarity in similarities]
    return [1 - similarity.astype(np.float64) for similarity in similarities]


def read(
    plans: Sequence[Floats], *, threshold: float, reading: str = "threshold", scale: str = "shares"
) -> list[Links]:
    """The links of plans.

    :param threshold: what a cell of the scaled plan must exceed, if it is read so.
    :param reading: ``threshold``, or ``mutual``: what is the greatest of its row and its column, a
        reading that has no parameter.
    :raises UnknownNameError: if the reading or the scale does not exist.
    """
    _check_name("reading", reading, READINGS)
    _check_name("scale", scale, SCALES)
    if reading == "mutual":
        return [argmax(plan) if plan.size else plan > 0 for plan in plans]
    return [scaled(plan, scale) > threshold for plan in plans]


def scaled(plan: Floats, scale: str = "shares") -> Floats:
    """A plan in [0, 1].

    ``shares`` divides a cell by the geometric mean of what its row and its column move in all: 1
    where two units exchange all they move, and one threshold means the same in every pair. ``pair``
    moves the plan's least cell to 0 and its greatest to 1, as OTAlign does: any pair has a link.
    """
    if scale == "pair":
        return scaled_to_pair(plan)
    moved = np.sqrt(plan.sum(axis=1, keepdims=True) * plan.sum(axis=0, keepdims=True))
    shares: Floats = np.divide(plan, moved, out=np.zeros_like(plan), where=moved > 0)
    return shares


def scaled_to_pair(values: Costs) -> Floats:
    """The values moved to [0, 1], the least of the matrix to 0 and the greatest to 1.

    A constant matrix becomes 1 everywhere, as in OTAlign.
    """
    if not values.size:
        return values.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    moved: Floats = (values.astype(np.float64) - low + _LEAST) / (high - low + _LEAST)
    return moved


# --- plans


def plans(
    kind: str,
    costs: Sequence[Costs],
    *,
    regularisation: float = 0.1,
    mass: float = 1.0,
    tau: float = 1.0,
    source_weights: Weights | None = None,
    target_weights: Weights | None = None,
    tolerance: float = TOLERANCE,
    most_steps: int = MOST_STEPS,
) -> list[Floats]:
    """How much mass goes from each source unit to each target unit, one plan a cost matrix.

    A plan does not depend on the pairs solved beside it. It is finite and not negative, and of its
    matrix's shape; without units on a side it is empty.

    :param kind: one of ``KINDS``.
    :param costs: finite matrices.
    :param regularisation: eps, above 0; smaller makes sharper plans and takes more steps.
    :param mass: for ``partial``, the moved share of the lighter side's mass, above 0 and at most 1.
    :param tau: for ``unbalanced``, the price of missing a weight, above 0.
    :param source_weights: one vector a matrix; left out, every unit weighs 1.
    :param target_weights: as ``source_weights``.
    :raises UnknownNameError: if the kind does not exist.
    :raises InputError: if a parameter is out of its range, a matrix is not finite, or weights do
        not suit it.
    """
    _check(kind, regularisation, mass, tau)
    rows = [_weights(source_weights, n, cost.shape[0]) for n, cost in enumerate(costs)]
    columns = [_weights(target_weights, n, cost.shape[1]) for n, cost in enumerate(costs)]
    if kind == "balanced":
        rows, columns = _shares(rows), _shares(columns)
    solvers: dict[str, _Balanced | _Partial] = {
        "balanced": _Balanced(),
        "partial": _Partial(mass),
        "unbalanced": _Unbalanced(regularisation, tau),
    }
    found = [np.zeros(cost.shape) for cost in costs]
    for numbers in _batches([cost.shape for cost in costs]):
        problem = _Problem.pad(
            [_finite(costs[n], n) / regularisation for n in numbers],
            [rows[n] for n in numbers],
            [columns[n] for n in numbers],
            kind,
        )
        for n, plan in zip(
            numbers, _solve(problem, solvers[kind], tolerance, most_steps), strict=True
        ):
            found[n] = plan[: costs[n].shape[0], : costs[n].shape[1]]
    return found


class _Problem(NamedTuple):
    """The problems of one batch, padded with units that weigh nothing.

    Cells count ``exp(lowest - C / eps)``, which is ``kernel``, times the two ``measure``s.
    """

    kernel: Floats  # shape (batch, rows, columns), greatest 1
    logs: Floats  # log kernel
    wide: NDArray[np.bool_]  # whether exponentials may leave the range of floats, shape (batch,)
    lowest: Floats  # the least C / eps, shape (batch, 1)
    rows: Floats  # a, shape (batch, rows)
    columns: Floats  # b, shape (batch, columns)
    row_measure: Floats  # shape (batch, rows)
    column_measure: Floats  # shape (batch, columns)

    @classmethod
    def pad(
        cls, costs: Sequence[Floats], rows: Sequence[Floats], columns: Sequence[Floats], kind: str
    ) -> _Problem:
        shape = (len(costs), max(map(len, rows)), max(map(len, columns)))
        logs, a, b = np.zeros(shape), np.zeros(shape[:2]), np.zeros((shape[0], shape[2]))
        lowest = np.array([[cost.min()] for cost in costs])
        for n, cost in enumerate(costs):
            logs[n, : cost.shape[0], : cost.shape[1]] = lowest[n] - cost
            a[n, : len(rows[n])] = rows[n]
            b[n, : len(columns[n])] = columns[n]
        wide = logs.min(axis=(1, 2)) < -WIDEST_KERNEL
        # The entropy of a partial plan is its own; that of the others is relative to the weights.
        measures = (1.0 * (a > 0), 1.0 * (b > 0)) if kind == "partial" else (a, b)
        return cls(np.exp(logs), logs, wide, lowest, a, b, *measures)

    def of(self, chosen: NDArray[np.bool_]) -> _Problem:
        parts: tuple[Any, ...] = tuple(part[chosen] for part in self)
        return _Problem(*parts)

    def row_sums(self, g: Floats) -> Floats:
        """``log sum_j exp(g_j - C_ij / eps)`` by the measure of columns, shape (batch, rows)."""
        if self.wide.any():
            return _sums_of_logs(self.logs, self.column_measure, g) - self.lowest
        return _sums_of_kernel(self.kernel, self.column_measure, g) - self.lowest

    def column_sums(self, f: Floats) -> Floats:
        """``log sum_i exp(f_i - C_ij / eps)`` by the measure of rows, shape (batch, columns)."""
        if self.wide.any():
            return _sums_of_logs(self.logs.swapaxes(1, 2), self.row_measure, f) - self.lowest
        return _sums_of_kernel(self.kernel.swapaxes(1, 2), self.row_measure, f) - self.lowest

    def plan(self, f: Floats, g: Floats) -> Floats:
        """``exp(f_i + g_j - C_ij / eps)`` by both measures; padding has none."""
        with np.errstate(divide="ignore"):
            rows = f - self.lowest + np.log(self.row_measure)
            columns = g + np.log(self.column_measure)
        plan: Floats = np.exp(self.logs + rows[:, :, np.newaxis] + columns[:, np.newaxis, :])
        return plan


def _sums_of_kernel(kernel: Floats, measure: Floats, potentials: Floats) -> Floats:
    """``log sum_j kernel_ij measure_j exp(potential_j)`` as a product, many times the faster."""
    scaled = measure * np.exp(potentials)
    sums: Floats = np.log(np.matmul(kernel, scaled[:, :, np.newaxis])[:, :, 0])
    return sums


def _sums_of_logs(logs: Floats, measure: Floats, potentials: Floats) -> Floats:
    """The same of any kernel: each sum is shifted by its greatest term."""
    with np.errstate(divide="ignore"):
        terms = logs + (potentials + np.log(measure))[:, np.newaxis, :]
    greatest = terms.max(axis=2)
    sums: Floats = greatest + np.log(np.exp(terms - greatest[:, :, np.newaxis]).sum(axis=2))
    return sums


# --- solving


class _Balanced:
    """Scales columns, then rows, to their weights (Cuturi, 2013); columns first, as POT does."""

    def step(self, problem: _Problem, f: Floats, g: Floats) -> tuple[Floats, Floats]:
        g = -problem.column_sums(f)
        return -problem.row_sums(g), g

    def plan(self, problem: _Problem, f: Floats, g: Floats) -> Floats:
        return problem.plan(f, g)


class _Unbalanced(_Balanced):
    """Scales rows, then columns, part of the way (Chizat et al., 2018, table 1, KL)."""

    def __init__(self, regularisation: float, tau: float) -> None:
        self.damping = tau / (tau + regularisation)

    def step(self, problem: _Problem, f: Floats, g: Floats) -> tuple[Floats, Floats]:
        f = -self.damping * problem.row_sums(g)
        return f, -self.damping * problem.column_sums(f)


class _Partial:
    """Scales down rows, then columns, that exceed their weights, then the whole plan to its mass.

    Dykstra's algorithm as in Benamou et al. (2015, proposition 5). The correction of a projection
    undoes that projection's last scaling; so of the three matrices of corrections remain one factor
    a row, one a column and one for the whole.
    """

    def __init__(self, mass: float) -> None:
        self.mass = mass

    def step(self, problem: _Problem, f: Floats, g: Floats) -> tuple[Floats, Floats]:
        sums = problem.row_sums(g)
        whole = self._whole(problem, f, sums)
        f = np.minimum(0.0, _log_limits(problem.rows) - whole - sums)
        g = np.minimum(0.0, _log_limits(problem.columns) - whole - problem.column_sums(f))
        return f, g

    def plan(self, problem: _Problem, f: Floats, g: Floats) -> Floats:
        return problem.plan(f + self._whole(problem, f, problem.row_sums(g)), g)

    def _whole(self, problem: _Problem, f: Floats, sums: Floats) -> Floats:
        """The logarithm of the factor that gives the plan its mass, shape (batch, 1)."""
        moved = self.mass * np.minimum(problem.rows.sum(axis=1), problem.columns.sum(axis=1))
        with np.errstate(divide="ignore"):
            exponents = np.log(problem.row_measure) + f + sums
        whole: Floats = np.log(moved)[:, np.newaxis] - _log_sum(exponents)
        return whole


def _solve(
    problem: _Problem, solver: _Balanced | _Partial, tolerance: float, most_steps: int
) -> Floats:
    """The plans of a batch, each from the step at which its own potentials came to rest."""
    plans = np.zeros(problem.kernel.shape)
    f, g = np.zeros(problem.rows.shape), np.zeros(problem.columns.shape)
    left = np.arange(len(plans))
    for step in range(1, most_steps + 1):
        before = f, g
        f, g = solver.step(problem, f, g)
        if step % STEPS_BETWEEN_CHECKS and step != most_steps:
            continue
        moved = np.abs(f - before[0]).max(axis=1, where=problem.rows > 0, initial=0.0)
        moved += np.abs(g - before[1]).max(axis=1, where=problem.columns > 0, initial=0.0)
        done = (moved <= tolerance) | (step == most_steps)
        if done.any():
            plans[left[done]] = solver.plan(problem.of(done), f[done], g[done])
            problem, f, g, left = problem.of(~done), f[~done], g[~done], left[~done]
        if not len(left):
            break
    return plans


def _log_limits(weights: Floats) -> Floats:
    """Of padding, which moves nothing anyway, 0."""
    limits: Floats = np.log(np.where(weights > 0, weights, 1.0))
    return limits


def _log_sum(exponents: Floats) -> Floats:
    """``log sum exp`` of each row, shape (batch, 1)."""
    greatest = exponents.max(axis=1, keepdims=True)
    sums: Floats = greatest + np.log(np.exp(exponents - greatest).sum(axis=1, keepdims=True))
    return sums


def _batches(shapes: Sequence[tuple[int, ...]]) -> Iterator[list[int]]:
    """The numbers of the matrices that have cells, those of like shape together."""
    batch: list[int] = []
    rows = columns = 0
    for n in sorted(range(len(shapes)), key=lambda n: shapes[n]):
        if not min(shapes[n]):
            continue
        rows, columns = max(rows, shapes[n][0]), max(columns, shapes[n][1])
        if batch and (len(batch) + 1) * rows * columns > BATCH_CELLS:
            yield batch
            batch, (rows, columns) = [], shapes[n]
        batch.append(n)
    if batch:
        yield batch


# --- checking


def _check(kind: str, regularisation: float, mass: float, tau: float) -> None:
    _check_name("kind of transport", kind, KINDS)
    for name, value in (("regularisation", regularisation), ("tau", tau)):
        if not 0 < value < np.inf:
            raise InputError(f"{name} must be above 0, got {value:g}")
    if not 0 < mass <= 1:
        raise InputError(f"mass must be above 0 and at most 1, got {mass:g}")


def _check_name(what: str, given: str, choices: Sequence[str]) -> None:
    if given not in choices:
        raise UnknownNameError(choose_from(what, given, choices))


def _finite(cost: Costs, number: int) -> Floats:
    if not np.isfinite(cost).all():
        raise InputError(f"cost matrix {number + 1} has a number that is not finite")
    return cost.astype(np.float64)


def _weights(weights: Weights | None, number: int, units: int) -> Floats:
    if weights is None:
        return np.ones(units)
    given = np.asarray(weights[number], dtype=np.float64)
    if given.shape != (units,):
        raise InputError(f"pair {number + 1} has {units} units but weights of shape {given.shape}")
    if not ((given > 0) & np.isfinite(given)).all():
        raise InputError(f"pair {number + 1} has a weight that is not above 0")
    return given


def _shares(weights: Sequence[Floats]) -> list[Floats]:
    return [each / each.sum() for each in weights]
