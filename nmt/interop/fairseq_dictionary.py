"""fairseq's dictionaries: ``dict.LANG.txt``, one ``symbol count`` a line.

Ids 0 to 3 are ``<s>``, ``<pad>``, ``</s>`` and ``<unk>``, which the file leaves out; its first line
is id 4. fairseq itself is not needed.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError
from bitext.text import atomic_write, name_of, open_lines

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
START, PAD, END, UNKNOWN = range(4)
OVERWRITE = "#fairseq:overwrite"
"""At the end of a line: the symbol was there before, and means this line's id from here on."""

_LINE = f"'SYMBOL COUNT', perhaps followed by ' {OVERWRITE}'"


@dataclass(frozen=True)
class Dictionary:
    """Symbols in the order of their ids, with the counts of the corpus they were found in."""

    symbols: tuple[str, ...]
    counts: tuple[int, ...]
    ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.symbols[:4] != SPECIAL:
            raise ValueError(f"the first symbols must be {SPECIAL}, not {self.symbols[:4]}")
        if len(self.symbols) != len(self.counts):
            raise ValueError(f"{len(self.symbols)} symbols, {len(self.counts)} counts")
        # of a symbol that is there twice, the later place holds
        object.__setattr__(self, "ids", {symbol: i for i, symbol in enumerate(self.symbols)})

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, line: str) -> NDArray[np.int64]:
        """The ids of the symbols of a line, which white space parts, and ``</s>``; shape (n + 1,).

        What the dictionary does not know becomes ``<unk>``.
        """
        ids = [self.ids.get(symbol, UNKNOWN) for symbol in line.split()]
        return np.array([*ids, END], dtype=np.int64)

    def text(self, ids: Iterable[int]) -> str:
        """The symbols of ``ids``, parted by spaces, without ``<s>``, ``<pad>`` and ``</s>``."""
        return " ".join(self.symbols[i] for i in ids if i not in (START, PAD, END))

    def repeated(self) -> list[str]:
        """The symbols that a later line overwrites."""
        return [s for i, s in enumerate(self.symbols) if self.ids[s] != i]


def make_dictionary(symbols: Iterable[str], counts: Iterable[int] | None = None) -> Dictionary:
    """A dictionary of what follows the four special symbols; without counts each has 1."""
    own = tuple(symbols)
    numbers = (1,) * len(own) if counts is None else tuple(counts)
    return Dictionary((*SPECIAL, *own), (*(1,) * len(SPECIAL), *numbers))


def build_dictionary(
    lines: Iterable[str], *, least: int = 0, size: int | None = None, multiple: int = 8
) -> Dictionary:
    """The dictionary that ``fairseq-preprocess`` builds from a corpus: the frequent first.

    Equally frequent symbols are in the order of their characters' numbers.

    :param least: how often a symbol must occur (``--thresholdsrc``).
    :param size: the most symbols, the special ones included (``--nwordssrc``).
    :param multiple: the number of symbols is brought to a multiple of this one by
        ``madeupword0000`` and so on (``--padding-factor``).
    """
    found: Counter[str] = Counter()
    for line in lines:
        found.update(line.split())
    for symbol in SPECIAL:
        found.pop(symbol, None)
    best = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    kept = [(symbol, count) for symbol, count in best if count >= least]
    if size is not None:
        kept = kept[: max(0, size - len(SPECIAL))]
    kept += _made_up(kept, multiple)
    return make_dictionary((symbol for symbol, _ in kept), (count for _, count in kept))


def _made_up(kept: list[tuple[str, int]], multiple: int) -> list[tuple[str, int]]:
    """What brings the number of symbols to a multiple; names that the corpus has are left out."""
    taken = {symbol for symbol, _ in kept}
    names = (f"madeupword{i:04d}" for i in itertools.count())
    missing = -(len(SPECIAL) + len(kept)) % max(multiple, 1)
    return [(name, 0) for name in itertools.islice((n for n in names if n not in taken), missing)]


def read_dictionary(path: str | Path) -> Dictionary:
    """Read ``dict.LANG.txt``.

    :raises InputError: if a line is not what it should be, or a symbol comes again without the
        mark that allows it; the sentence names the file and the line.
    """
    symbols, counts = list(SPECIAL), [1] * len(SPECIAL)
    seen = set(SPECIAL)
    for number, line in enumerate(open_lines(path), start=1):
        where = f"{name_of(path)}, line {number}"
        symbol, count, overwrites = _parse(line, where)
        if symbol in seen and not overwrites:
            raise InputError(f"{where}: '{symbol}' has an id already; a line that is to overwrite"
                             f" it ends in ' {OVERWRITE}'")  # fmt: skip
        seen.add(symbol)
        symbols.append(symbol)
        counts.append(count)
    return Dictionary(tuple(symbols), tuple(counts))


def _parse(line: str, where: str) -> tuple[str, int, bool]:
    """Symbol and count of a line, and whether it may take a symbol's id over."""
    start, _, last = line.rstrip().rpartition(" ")
    overwrites = last == OVERWRITE
    if overwrites:
        start, _, last = start.rpartition(" ")
    try:
        count = int(last)
    except ValueError:
        count = -1
    if not start or count < 0 or "\r" in line:
        raise InputError(f"{where}: expected {_LINE}, found {line[:80]!r}")
    return start, count, overwrites


def write_dictionary(dictionary: Dictionary, path: str | Path) -> None:
    """Write ``dict.LANG.txt``, byte by byte as fairseq does.

    There is one difference: a symbol that comes again gets its mark, without which fairseq could
    not read the file.

    :raises InputError: if a symbol cannot stand in such a file, or the file cannot be written.
    """
    with atomic_write(path) as file:
        for line in _lines(dictionary):
            file.write(line)


def _lines(dictionary: Dictionary) -> Iterator[str]:
    seen = set(SPECIAL)
    for symbol, count in list(zip(dictionary.symbols, dictionary.counts, strict=True))[4:]:
        if not symbol or "\n" in symbol or "\r" in symbol:
            raise InputError(f"fairseq's dictionaries cannot hold the symbol {symbol!r}")
        yield f"{symbol} {count}{f' {OVERWRITE}' if symbol in seen else ''}\n"
        seen.add(symbol)
