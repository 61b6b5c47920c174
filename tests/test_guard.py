"""The quality guard: what is flagged, by hand, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from nmt.evaluation.guard import FLAGS, GuardCounts, GuardSettings, guard, guard_flags, longest_loop

SOURCE = "Ein kleiner Hund läuft über das grüne Gras."
RIGHT = "A small dog runs over the green grass."


@pytest.mark.parametrize(
    ("source", "translation", "flags"),
    [
        (SOURCE, RIGHT, ()),
        ("", "", ()),
        # 36 letters and a full stop, against none: 47 is more than 2.5 times 10.
        (SOURCE, "", ("empty", "short")),
        (SOURCE, " ... ", ("empty", "short")),
        ("?!", "!", ()),  # nothing was said
        (SOURCE, SOURCE, ("copied",)),
        (SOURCE, SOURCE.upper(), ("copied",)),
        # Seven of eight words are the source's: 0.875.
        (SOURCE, "Ein kleiner Hund läuft über das grüne lawn.", ("copied",)),
        # Six of eight: 0.75.
        (SOURCE, "Ein kleiner Hund läuft über das green lawn.", ()),
        ("Angela Merkel, Berlin", "Angela Merkel, Berlin", ()),  # three words may be all names
        ("12 34 56 78 90", "12 34 56 78 90", ()),  # numbers are the same in all languages
        # Repeats count as often as the source has them: one "die" of five words.
        ("die die die die die", "die Würfel", ()),
        (SOURCE, "A dog dog dog dog runs over the grass.", ("repeated",)),
        (SOURCE, "A dog dog dog runs over the grass.", ()),
        (SOURCE, "the green, the green, the green, the green, grass", ("repeated",)),
        ("ha ha ha ha!", "ha ha ha ha!", ("copied",)),  # the source loops, too
        ("我喜欢。", "很很很很", ("repeated",)),  # no spaces are needed
        # Gras 4, 110 letters: 120 is more than 2.5 times 14.
        ("Gras", "grass and more, " * 2 + "x" * 90, ("long",)),
        (SOURCE, "A small <unk> runs over the green grass.", ("unknown",)),
        (SOURCE, "A small \u2047 runs over the green grass.", ("unknown",)),
        ("Was heißt <unk> hier?", "What does <unk> mean here?", ()),
    ],
)
def test_the_flags_of_a_translation(source: str, translation: str, flags: tuple[str, ...]) -> None:
    assert guard_flags(source, translation) == flags


@pytest.mark.parametrize(
    ("words", "period", "times"),
    [
        ("", 12, 0),
        ("a", 12, 1),
        ("a b a c", 12, 1),
        ("a a a", 12, 3),
        ("a b a b a c", 12, 2),
        ("a b a b a b", 12, 3),
        ("a b a b a b", 1, 1),
        ("x a b c a b c y", 12, 2),
        ("x a b c a b c y", 2, 1),
    ],
)
def test_how_often_a_run_of_words_stands_in_a_row(words: str, period: int, times: int) -> None:
    assert longest_loop(words.split(), period) == times


def test_the_settings_move_the_limits() -> None:
    strict = GuardSettings(copied=0.1, times=2, ratio=1)
    assert guard_flags("eins zwei drei vier", "eins two two", strict) == (
        "copied",
        "repeated",
        "short",
    )


def test_the_counts_add_up() -> None:
    flags, counts = guard([SOURCE] * 3, ["", SOURCE, RIGHT])
    assert flags == [("empty", "short"), ("copied",), ()]
    assert str(counts) == "2 of 3 translations flagged: 1 empty, 1 copied, 1 short"
    assert counts.as_dict() == {
        "translations": 3,
        "flagged": 2,
        **dict.fromkeys(FLAGS, 0),
        "empty": 1,
        "copied": 1,
        "short": 1,
    }
    assert str(GuardCounts()) == "0 of 0 translations flagged"


def test_human_translations_are_let_through(data: Path) -> None:
    names = [data / "mt" / f"multi30k_test_2016_flickr.{language}" for language in ("en", "de")]
    english, german = (path.read_text(encoding="utf-8").splitlines() for path in names)
    assert guard(english, german)[1].flagged == 0
