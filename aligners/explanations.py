"""What each method does, in words for people: the one place that pages and lists read them from."""

from __future__ import annotations

from typing import NamedTuple

COMMON = "Most used"
_BOTH = "Both directions joined"


class Explanation(NamedTuple):
    """Under which heading a method stands, and what it links."""

    group: str
    text: str


EXPLANATIONS: dict[str, Explanation] = {
    "argmax": Explanation(COMMON, "Mutual best matches only: few links, but sure ones."),
    "itermax": Explanation(
        COMMON, "Mutual best matches, then once more among the words that are left: more links."
    ),
    "mwmf": Explanation(
        COMMON, "One to one, with the greatest sum: all of the shorter side is linked."
    ),
    "softmax": Explanation(
        COMMON, "What is probable in both directions together: several links for a word, or none."
    ),
    "intersection": Explanation(
        "By probability", "What is probable in each direction by itself, as in awesome-align."
    ),
    "entmax": Explanation(
        "By probability",
        "The same with probabilities that may be exactly 0: unlikely words do not count at all.",
    ),
    "transport": Explanation(
        "By transport", "What moves when all of one sentence is carried over to the other."
    ),
    "partial": Explanation(
        "By transport", "What moves when a share of the sentences may stay where it is."
    ),
    "unbalanced": Explanation(
        "By transport", "What moves when words may give and take more or less than their share."
    ),
    "forward": Explanation("One direction", "For each word of the sentence, its best match."),
    "backward": Explanation("One direction", "For each word of the translation, its best match."),
    "union": Explanation(_BOTH, "What either direction links."),
    "grow-diag": Explanation(
        _BOTH, "What both link, then neighbours of links that one of them has, as in atools."
    ),
    "grow-diag-final": Explanation(
        _BOTH, "Grow-diag, then each direction's links of a word that has none."
    ),
    "grow-diag-final-and": Explanation(
        _BOTH, "Grow-diag, then each direction's links of two words that have none."
    ),
    "grow-diag-moses": Explanation(_BOTH, "Grow-diag in the order of symal, Moses' program."),
    "grow-diag-final-moses": Explanation(_BOTH, "Grow-diag-final as symal has it."),
    "grow-diag-final-and-moses": Explanation(_BOTH, "Grow-diag-final-and as symal has it."),
    "grow-diag-lilt": Explanation(
        _BOTH, "Grow-diag by links of two words that have none only, as in Lilt's program."
    ),
    "grow-diag-final-lilt": Explanation(_BOTH, "Grow-diag-final as Lilt's program has it."),
}
"""Every name of ``MATCHERS``, in the order in which people are shown them."""
