"""Align the words of two sentences and print each link as words: ``python align_sentences.py``."""

from aligners.aligner import Aligner
from bitext.segmentation import segment
from bitext.types import SentencePair
from encoders.registry import default_registry

ENGLISH = "The old house has a small garden."
GERMAN = "Das alte Haus hat einen kleinen Garten."


def main() -> None:
    source = [word.text for word in segment(ENGLISH)]
    target = [word.text for word in segment(GERMAN)]
    aligner = Aligner(default_registry().encoder("bundled"), method="itermax")
    [alignment] = aligner.align([SentencePair(source, target)])
    for (i, j), score in zip(alignment.links, alignment.scores, strict=True):
        print(f"{source[i]}\t{target[j]}\t{score:.2f}")


if __name__ == "__main__":
    main()
