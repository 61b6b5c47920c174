"""Which language a text is in, by py3langid (the extra ``langid``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bitext.errors import InputError, UnknownNameError


def load_identifier(languages: Iterable[str]) -> Callable[[str, str], float]:
    """A function of a text and a language to the probability that the text is in it.

    :raises InputError: if the extra is not installed.
    :raises UnknownNameError: if one of ``languages`` is none of its codes.
    """
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise InputError(
            "telling languages needs py3langid: pip install 'bitext[langid]'"
        ) from None
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    known = set(identifier.labels)
    for language in languages:
        if language not in known:
            raise UnknownNameError(
                f"unknown language '{language}'; py3langid has codes of ISO 639-1: {_listed(known)}"
            )

    def probability(text: str, language: str) -> float:
        return float(dict(identifier.rank(text)).get(language, 0.0))

    return probability


def _listed(known: Iterable[str]) -> str:
    return ", ".join(sorted(known))
