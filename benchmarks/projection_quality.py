"""How well spans are carried over: Europarl's names and XQuAD's answers, as Markdown tables.

python benchmarks/projection_quality.py                      # all languages and strategies
python benchmarks/projection_quality.py --paragraphs 80 --languages es --parts xquad

The defaults of ``bitext project`` were chosen on es; the other languages were only measured. Names:
F1 of exact spans with their type. Answers: exact match and F1 of tokens as in SQuAD (lower case,
no punctuation; no articles are taken out, which SQuAD does in English only), of characters in zh.
"""

from __future__ import annotations

import argparse
import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from aligners.aligner import Aligner
from aligners.labels import spans_of
from aligners.passages import Passage, align_passages
from aligners.projection import Projection, Rules, Span, project
from aligners.strategies import STRATEGIES
from bitext.text import data_folder
from bitext.types import Alignment, SentencePair
from encoders.registry import default_registry

GAPS = (0, 1, 2, 3)
NER_LANGUAGES = ("es", "de", "it")
XQUAD_LANGUAGES = ("es", "de", "zh", "hi", "ru")


def variants() -> Iterator[tuple[str, Rules]]:
    """The strategies by the name of their row."""
    for name in STRATEGIES:
        for gap in GAPS if name == "longest-run" else (2,):
            yield (f"{name}, gap {gap}" if name == "longest-run" else name), Rules(name, gap)
    yield "mass, punctuation counts", Rules("mass", punctuation=True)


# --- names


class Names(NamedTuple):
    """Sentences and their names in one language."""

    words: list[list[str]]
    spans: list[list[Span]]


def read_names(language: str) -> Names:
    folder = data_folder() / "labels" / "europarl_ner"
    words, tags = (
        [line.split() for line in (folder / f"{language}.{end}").read_text("utf-8").splitlines()]
        for end in ("tok", "ner")
    )
    return Names(words, [spans_of(each) for each in tags])


class NameScore(NamedTuple):
    """Counts of names: right, carried over, in the gold; and how well confidence tells."""

    right: int
    found: int
    gold: int
    auc: float

    def __str__(self) -> str:
        precision, recall = self.right / max(self.found, 1), self.right / self.gold
        f1 = 2 * self.right / (self.found + self.gold)
        return f"{100 * f1:.1f} ({100 * precision:.1f} / {100 * recall:.1f})"


def score_names(
    source: Names, target: Names, alignments: Sequence[Alignment], rules: Rules
) -> NameScore:
    judged: list[tuple[float, bool]] = []
    rows = zip(source.words, source.spans, target.words, target.spans, alignments, strict=True)
    for words, spans, target_words, gold, alignment in rows:
        for each in project(spans, alignment, words, target_words, rules):
            if each.target is not None:
                judged.append((each.confidence, each.target in gold))
    right = sum(ok for _, ok in judged)
    return NameScore(right, len(judged), sum(map(len, target.spans)), auc(judged))


def auc(judged: Sequence[tuple[float, bool]]) -> float:
    """How often a right span has a higher confidence than a wrong one; half for equal ones."""
    right = [sure for sure, ok in judged if ok]
    wrong = [sure for sure, ok in judged if not ok]
    wins = sum((a > b) + 0.5 * (a == b) for a in right for b in wrong)
    return wins / max(len(right) * len(wrong), 1)


def names_table(aligner: Aligner, languages: Sequence[str]) -> None:
    source = read_names("en")
    alignments, targets = {}, {}
    for language in languages:
        targets[language] = read_names(language)
        pairs = zip(source.words, targets[language].words, strict=True)
        alignments[language] = aligner.align([SentencePair(a, b) for a, b in pairs])
    header([f"en→{language}" for language in languages] + ["AUC of confidence"])
    for name, rules in variants():
        scores = [score_names(source, targets[k], alignments[k], rules) for k in languages]
        aucs = " / ".join(f"{score.auc:.2f}" for score in scores)
        print("| " + " | ".join([name, *map(str, scores), aucs]) + " |", flush=True)


# --- answers


class Paragraph(NamedTuple):
    text: str
    passage: Passage
    answers: list[tuple[int, str]]  # where it starts, and its text


def read_paragraphs(language: str, limit: int) -> list[Paragraph]:
    path = data_folder() / "labels" / "xquad" / f"{language}.jsonl"
    rows: list[dict[str, Any]] = [json.loads(line) for line in path.open(encoding="utf-8")]
    return [
        Paragraph(
            row["context"], Passage.of(row["context"]), [(q["start"], q["a"]) for q in row["qas"]]
        )
        for row in rows[:limit]
    ]


def tokens(text: str, language: str) -> list[str]:
    plain = "".join(c for c in text.lower() if not unicodedata.category(c).startswith("P"))
    return list("".join(plain.split())) if language == "zh" else plain.split()


def token_f1(found: str, gold: str, language: str) -> float:
    first, second = tokens(found, language), tokens(gold, language)
    common = sum((Counter(first) & Counter(second)).values())
    return 2 * common / (len(first) + len(second)) if common else 0.0


def score_answers(
    sources: Sequence[Paragraph],
    targets: Sequence[Paragraph],
    alignments: Sequence[Alignment],
    rules: Rules,
    language: str,
) -> str:
    exact, f1, lost, count = 0, 0.0, 0, 0
    for source, target, alignment in zip(sources, targets, alignments, strict=True):
        for found, (_, gold) in zip(
            carried(source, target, alignment, rules), target.answers, strict=True
        ):
            text = ""
            if found.target is not None:
                words = target.passage.words[found.target.start : found.target.end]
                text = target.text[words[0].start : words[-1].end]
            exact += tokens(text, language) == tokens(gold, language)
            f1 += token_f1(text, gold, language)
            lost += found.target is None
            count += 1
    return f"{100 * exact / count:.1f} / {100 * f1 / count:.1f} ({lost})"


def carried(
    source: Paragraph, target: Paragraph, alignment: Alignment, rules: Rules
) -> list[Projection]:
    spans = [covering(source.passage, start, start + len(text)) for start, text in source.answers]
    sides = [[word.text for word in side.passage.words] for side in (source, target)]
    return project(spans, alignment, sides[0], sides[1], rules)


def covering(passage: Passage, start: int, end: int) -> Span:
    inside = [n for n, w in enumerate(passage.words) if w.start < end and w.end > start]
    return Span(inside[0], inside[-1] + 1)


def whole(aligner: Aligner, sources: Sequence[Paragraph], targets: Sequence[Paragraph]) -> Any:
    """Paragraphs aligned at once, as if each were one sentence."""
    sides = [[[w.text for w in p.passage.words] for p in side] for side in (sources, targets)]
    return aligner.align([SentencePair(a, b) for a, b in zip(*sides, strict=True)])


def answers_table(aligner: Aligner, languages: Sequence[str], limit: int) -> None:
    sources = read_paragraphs("en", limit)
    rows: dict[str, list[str]] = {}
    for language in languages:
        targets = read_paragraphs(language, limit)
        pairs = [(a.passage, b.passage) for a, b in zip(sources, targets, strict=True)]
        by_sentence = align_passages(aligner, pairs)
        at_once = whole(aligner, sources, targets)
        cases = [(name, by_sentence, rules) for name, rules in variants()]
        for name, alignments, rules in [*cases, ("mass, paragraphs whole", at_once, Rules())]:
            cell = score_answers(sources, targets, alignments, rules, language)
            rows.setdefault(name, []).append(cell)
    header([f"en→{language}" for language in languages])
    for name, cells in rows.items():
        print("| " + " | ".join([name, *cells]) + " |", flush=True)


def header(columns: Sequence[str]) -> None:
    print("| " + " | ".join(["strategy", *columns]) + " |")
    print("|---|" + "--:|" * len(columns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--method", help="default: the model's preset")
    parser.add_argument("--parts", nargs="+", default=["names", "xquad"])
    parser.add_argument("--languages", nargs="+", help="default: all")
    parser.add_argument("--paragraphs", type=int, default=240)
    options = parser.parse_args()
    encoder = default_registry().encoder(options.model)
    aligner = Aligner(encoder, method=options.method, too_long="windows")
    if "names" in options.parts:
        print("Names: F1 (precision / recall), in %\n")
        chosen = options.languages or NER_LANGUAGES
        names_table(aligner, [k for k in chosen if k in NER_LANGUAGES])
    if "xquad" in options.parts:
        print("\nAnswers: exact match / F1 (answers lost), in %\n")
        answers_table(aligner, options.languages or XQUAD_LANGUAGES, options.paragraphs)
    print(f"\n{aligner.signature}")


if __name__ == "__main__":
    main()
