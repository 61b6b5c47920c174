"""A picture of what each layer is good for: PNG or SVG, by matplotlib."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitext.errors import InputError
from bitext.text import atomic_bytes

if TYPE_CHECKING:
    from encoders.inspection.analysis import Analysis

FORMATS = (".png", ".svg")

# The colours of Okabe and Ito (2008), which colour-blind readers tell apart.
_BLUE, _SKY, _GREEN, _ORANGE, _RED, _PINK = (
    "#0072B2",
    "#56B4E9",
    "#009E73",
    "#E69F00",
    "#D55E00",
    "#CC79A7",
)


def check_plot(path: Path) -> None:
    """Refuse, before anything is measured, a picture that could not be drawn or written.

    :raises InputError: if the ending is none of ``FORMATS``, the folder does not exist, or
        matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"--plot takes a file that ends in .png or .svg, got {path}")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: there is no folder {path.parent}")
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("--plot needs matplotlib; get it with: pip install 'bitext[plot]'")


def plot_layers(analysis: Analysis, path: Path, *, title: str) -> None:
    """Draw the layers of ``analysis`` to ``path``, which appears when it is whole.

    :raises InputError: as :func:`check_plot`, or if the file cannot be written.
    """
    check_plot(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # without dates and random ids, so that the same figures give the same bytes
    with rc_context({"svg.hashsalt": "bitext", "svg.fonttype": "none"}):
        figure = Figure(figsize=(10, 4.4), dpi=150, layout="constrained")
        figure.suptitle(title, fontsize=11)
        quality, geometry = figure.subplots(1, 2)
        _draw_quality(quality, analysis)
        _draw_geometry(geometry, analysis)
        save_figure(figure, path)


def _draw_quality(axes: Any, analysis: Analysis) -> None:
    """Left: what the layers can do, in percent."""
    reports = analysis.layers
    layers = [report.layer for report in reports]
    accuracies = [report.retrieval["mean"] for report in reports]
    _line(axes, layers, [100 * a.raw for a in accuracies], "retrieval, raw", _SKY, "o")
    _line(axes, layers, [100 * a.centred for a in accuracies], "retrieval, centred", _BLUE, "s")
    for unit, colour, mark in (("piece", _ORANGE, "^"), ("word", _RED, "v")):
        if all(unit in report.aer for report in reports):
            values = [100 * report.aer[unit] for report in reports]
            _line(axes, layers, values, f"AER, unit {unit}", colour, mark)
    _ring(axes, analysis)
    _frame(
        axes, layers, "Retrieval (higher is better) and AER (lower is better)", "percent", (0, 100)
    )


def _ring(axes: Any, analysis: Analysis) -> None:
    """Mark the settings that are recommended; other poolings than the mean lie off the curves."""
    align, retrieve = analysis.alignment, analysis.retrieval
    points = [(retrieve.layer, 100 * retrieve.accuracy)]
    if align.unit is not None:
        points.append((align.layer, 100 * analysis.layers[align.layer].aer[align.unit]))
    axes.plot(
        *zip(*points, strict=True),
        linestyle="none",
        marker="o",
        markersize=14,
        markerfacecolor="none",
        markeredgecolor="black",
        label="recommended",
    )


def _draw_geometry(axes: Any, analysis: Analysis) -> None:
    """Right: how the two languages' mean vectors lie to each other."""
    reports = analysis.layers
    layers = [report.layer for report in reports]
    _line(axes, layers, [r.cka for r in reports], "linear CKA", _BLUE, "o")
    _line(axes, layers, [r.cca for r in reports], "CCA, mean correlation", _GREEN, "s")
    _line(axes, layers, [r.anisotropy_source for r in reports], "anisotropy, source", _RED, "^")
    _line(axes, layers, [r.anisotropy_target for r in reports], "anisotropy, target", _ORANGE, "v")
    _line(axes, layers, [r.language_accuracy for r in reports], "language told apart", _PINK, "d")
    lowest = min(0.0, *(min(r.anisotropy_source, r.anisotropy_target) for r in reports))
    _frame(axes, layers, "Geometry of the sentence vectors", "share or cosine", (lowest, 1))


def _line(
    axes: Any, layers: list[int], values: list[float], label: str, colour: str, mark: str
) -> None:
    axes.plot(layers, values, color=colour, marker=mark, markersize=5, linewidth=1.6, label=label)


def _frame(
    axes: Any, layers: list[int], title: str, unit: str, limits: tuple[float, float]
) -> None:
    room = 0.03 * (limits[1] - limits[0])
    axes.set_ylim(limits[0] - room, limits[1] + room)
    axes.set_xticks(layers if len(layers) <= 15 else layers[:: len(layers) // 8])
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("layer")
    axes.set_ylabel(unit)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8, frameon=False)


def save_figure(figure: Any, path: Path) -> None:
    """Write a matplotlib figure: all or nothing, the same bytes each time."""
    kind = path.suffix.lower().removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with atomic_bytes(path) as file:
        figure.savefig(file, format=kind, metadata=metadata)
