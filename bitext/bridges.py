"""What one task may use of another: by name, so that their packages never import one another.

The command line and the service, which know all tasks, could pass such functions; a command of one
package cannot, as it stands inside it. So the names stand here, as those of commands do in
``cli.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from bitext.types import Alignment, SentencePair

Coverage = Callable[["Sequence[SentencePair]"], "list[float]"]
"""How much of both sides of each pair of raw text is surely translated, 0 to 1."""

Links = Callable[["Sequence[SentencePair]"], "list[Alignment]"]
"""The word links of each pair."""


def coverage_by(encoder: Any) -> Coverage:
    """Word alignment's evidence for pairs, by a model.

    :param encoder: an :class:`encoders.encoder.Encoder`.
    """
    return cast("Coverage", import_module("aligners.evidence").coverage(encoder))


Similarity = Callable[["Sequence[SentencePair]"], "list[float]"]
"""How near the sentences of each pair of raw text are; larger is nearer."""


def similarity_by(encoder: Any, margin: str = "absolute") -> Similarity:
    """Retrieval's score of pairs, by a model.

    :param encoder: an :class:`encoders.encoder.Encoder`.
    :param margin: one of retrieval's; ``absolute`` is the cosine.
    """
    made = import_module("retrieval.filters.similarity").similarity(encoder, margin)
    return cast("Similarity", made)


def links_by(encoder: Any) -> Links:
    """Word alignment by a model and its own method.

    :param encoder: an :class:`encoders.encoder.Encoder`.
    """
    return cast("Links", import_module("aligners.evidence").links(encoder))
