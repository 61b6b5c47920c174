"""Errors a user can put right. Anything else that is raised is a bug and keeps its traceback.

The command line prints one line and exits with 2; the service answers with a 4xx status, or 503
where a model is not there yet (``service/errors.py`` holds the table).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial


class BitextError(Exception):
    """What came, what is allowed, and where: one sentence for the person who can mend it.

    ``hint`` is what the command line adds to it, such as how an interrupted run goes on.
    """

    hint = ""


class InputError(BitextError):
    """A file, a line or a field that cannot be read as what it should be."""


class UnknownNameError(BitextError):
    """A name (method, model, index, layer) that is not among those there are."""


class ModelNotFoundError(BitextError):
    """A model that is neither a folder nor in the local cache."""


class TooLongError(BitextError):
    """A sentence of more pieces than the model has positions for.

    ``sentence`` is its number, from 0, in the list that was to be encoded; ``name`` is what the
    message calls it, and :meth:`called` gives the same error with a name that says more.
    """

    def __init__(self, reason: str, *, sentence: int = 0, name: str | None = None) -> None:
        self.reason = reason
        self.sentence = sentence
        self.name = name or f"sentence {sentence + 1}"
        super().__init__(f"{self.name} {reason}")

    def __reduce__(self) -> tuple[Callable[[], TooLongError], tuple[()]]:
        """Errors of other processes arrive pickled, by default as if the message were a reason."""
        return partial(TooLongError, self.reason, sentence=self.sentence, name=self.name), ()

    def called(self, name: str) -> TooLongError:
        """Example: ``error.called("x.txt, line 3")`` -> ``x.txt, line 3 has 70 pieces, ...``."""
        return TooLongError(self.reason, sentence=self.sentence, name=name)


class MismatchError(BitextError):
    """Two things that must agree do not, such as a query's encoder and its index's encoder."""


class BusyError(BitextError):
    """Somebody else is at work on the same thing, and does not come to an end; try again later."""


class TooLargeError(BitextError):
    """More than a stated limit: sentences in a request, bytes in a line, models in memory."""


def choose_from(what: str, given: str, choices: Iterable[object]) -> str:
    """The sentence for a name that does not exist.

    Example: ``choose_from("method", "itermx", ["argmax", "itermax"])`` ->
    ``"unknown method 'itermx'; choose one of: argmax, itermax"``
    """
    names = ", ".join(sorted(map(str, choices)))
    return f"unknown {what} '{given}'; choose one of: {names}"
