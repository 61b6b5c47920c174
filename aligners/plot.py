"""A picture of aligned pairs: how alike every two words are, and which are linked; PNG or SVG."""

from __future__ import annotations

import logging
import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from bitext.errors import InputError, TooLargeError
from bitext.types import SentencePair
from encoders.inspection.plot import check_plot, save_figure

if TYPE_CHECKING:
    from aligners.detail import PairDetail

logger = logging.getLogger(__name__)

MOST_PAIRS = 12
"""Pairs of one picture."""
MOST_WORDS = 150
"""Words of one side in a picture; more could not be read."""
CELL = 0.28  # inches that a word takes
LETTER = 0.085  # inches, about, that a letter takes

_RED = "#D55E00"  # Okabe and Ito (2008); the map itself is grey to blue
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")


def pairs_to_plot(pairs: Iterable[SentencePair], path: Path) -> list[SentencePair]:
    """The pairs of a picture, refused before they are aligned if it could not be drawn.

    :raises TooLargeError: if there are more than ``MOST_PAIRS``, or a side has more words than
        ``MOST_WORDS``.
    :raises InputError: if the picture could not be written, or matplotlib is not installed.
    """
    check_plot(path)
    taken = list(islice(pairs, MOST_PAIRS + 1))
    if len(taken) > MOST_PAIRS:
        raise TooLargeError(
            f"--plot draws at most {MOST_PAIRS} pairs, and there are more; give it some of the "
            "lines only"
        )
    for number, pair in enumerate(taken, 1):
        for side, words in (("source", pair.source), ("target", pair.target)):
            if len(words) > MOST_WORDS:
                raise TooLargeError(
                    f"pair {number}, {side}: --plot draws at most {MOST_WORDS} words, got "
                    f"{len(words)}"
                )
    return taken


def plot_pairs(
    details: Sequence[PairDetail], pairs: Sequence[SentencePair], path: Path, *, title: str = ""
) -> None:
    """Draw a map for each pair to ``path``, which appears when it is whole.

    A row is a source word, a column a target word: the bluer, the more alike. The links of the
    first method of each detail are marked; words without links are grey. Where the target is
    written from right to left, the columns are too. An SVG keeps its text as text.

    :raises TooLargeError: and ``InputError``, as :func:`pairs_to_plot`.
    """
    pairs = pairs_to_plot(pairs, path)
    if not pairs:
        raise InputError("--plot needs at least one pair")
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    fonts = _fonts({letter for pair in pairs for word in _words(pair) for letter in word})
    settings: dict[Any, Any] = {
        "svg.hashsalt": "bitext",
        "svg.fonttype": "none",
        "font.family": [*fonts, "sans-serif"],  # for those who look at an SVG without these fonts
        "font.sans-serif": fonts[:1],
        "text.parse_math": False,  # a word may have dollar signs
    }
    with rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # _fonts has said so
        sizes = [_size(pair) for pair in pairs]
        width, height = max(w for w, _ in sizes), sum(h for _, h in sizes)
        figure = Figure(
            figsize=(width, height + 0.4), dpi=150, layout=ConstrainedLayoutEngine(w_pad=0.15)
        )
        figure.suptitle(_broken(title, width), fontsize=8)
        ratios = [h for _, h in sizes]
        grid = figure.subplots(len(pairs), 1, squeeze=False, height_ratios=ratios)
        for axes, detail, pair in zip(grid[:, 0], details, pairs, strict=True):
            _draw(axes, detail, pair)
        save_figure(figure, path)


def _draw(axes: Any, detail: PairDetail, pair: SentencePair) -> None:
    method, alignment = next(iter(detail.alignments.items()))
    axes.set_title(f"{method}, score {detail.score(alignment):.2f}", fontsize=9, loc="left")
    rows, columns = detail.similarity.shape
    axes.set_xticks(range(columns), pair.target, rotation=_rotation(pair.target), fontsize=9)
    axes.set_yticks(range(rows), pair.source, fontsize=9)
    axes.tick_params(top=True, bottom=False, labeltop=True, labelbottom=False, length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlim(-0.5, max(columns, 1) - 0.5)
    axes.set_ylim(max(rows, 1) - 0.5, -0.5)
    axes.set_aspect("equal")
    if _RIGHT_TO_LEFT.search("".join(pair.target)):
        axes.invert_xaxis()
        axes.yaxis.tick_right()
    for ticks, alone in zip(
        (axes.get_yticklabels(), axes.get_xticklabels()), detail.null_words(alignment), strict=True
    ):
        for number in alone:
            ticks[number].set_color("0.6")
    if detail.similarity.size:
        image = axes.imshow(detail.similarity, cmap="Blues", vmax=1)
        axes.figure.colorbar(image, ax=axes, label="similarity", aspect=30, pad=0.02)
    if alignment.links:
        sources, targets = zip(*alignment.links, strict=True)
        axes.scatter(targets, sources, s=45, marker="o", facecolor="white", edgecolor=_RED)


def _broken(title: str, width: float) -> str:
    """In lines of ``width`` inches, each choice of a signature whole."""
    whole = " | ".join(choice.replace(" ", "\N{NO-BREAK SPACE}") for choice in title.split(" | "))
    return fill(whole, int(width / LETTER)).replace("\N{NO-BREAK SPACE}", " ")


def _size(pair: SentencePair) -> tuple[float, float]:
    """Width and height of a pair's map with its words, in inches."""
    beside = max(map(len, pair.source), default=0) * LETTER
    letters = max(map(len, pair.target), default=0)
    above = LETTER * (letters if _rotation(pair.target) else 2)
    width = CELL * max(4, len(pair.target)) + beside + 1.2
    return max(3.5, width), CELL * max(4, len(pair.source)) + above + 0.5


def _rotation(words: Sequence[str]) -> int:
    """Upright where no word is wider than its column."""
    return 0 if max(map(len, words), default=0) <= 2 else 90


def _words(pair: SentencePair) -> Iterator[str]:
    yield from pair.source
    yield from pair.target


def _fonts(letters: set[str]) -> list[str]:
    """Matplotlib's own font, and such of those installed as have the letters that it lacks.

    A sentence is logged where no font has some of them: they are drawn as boxes.
    """
    from matplotlib.font_manager import findfont, findSystemFonts, fontManager

    chosen = ["DejaVu Sans"]
    missing = _lacking(findfont(chosen[0]), set(filter(_is_drawn, letters)))
    # Looked for anew: matplotlib's own list is as old as its cache.
    for path in sorted(findSystemFonts(), key=_preference) if missing else []:
        left = _lacking(path, missing)
        if left != missing:
            known = len(fontManager.ttflist)
            fontManager.addfont(path)
            chosen.append(fontManager.ttflist[known].name)  # the first of a collection
            missing = left
        if not missing:
            break
    if missing:
        shown = " ".join(sorted(missing)[:10])
        logger.warning("no font that is installed has %s: the picture has boxes there", shown)
    return chosen


def _lacking(path: str, letters: set[str]) -> set[str]:
    """Those of ``letters`` that a font file does not draw; all, if it cannot be used."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):
        return letters
    return {
        letter for letter in letters if not font.scalable or not font.get_char_index(ord(letter))
    }


def _is_drawn(letter: str) -> bool:
    return not letter.isspace() and unicodedata.category(letter) not in ("Cc", "Cf")


def _preference(path: str) -> tuple[bool, bool, str]:
    """Upright sans-serif fonts of normal weight first."""
    name = Path(path).name
    return "Sans" not in name, "Regular" not in name, name
