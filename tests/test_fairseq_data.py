"""fairseq's dictionaries and binarised sentences, byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitext.errors import InputError, MismatchError, UnknownNameError
from nmt.interop.fairseq_binary import DTYPES, BinarySentences, SentenceWriter, id_dtype
from nmt.interop.fairseq_data import Side, open_data, text_lines, write_data
from nmt.interop.fairseq_dictionary import (
    Dictionary,
    build_dictionary,
    make_dictionary,
    read_dictionary,
    write_dictionary,
)

Write = Callable[..., Path]
Call = Callable[..., tuple[int, str, str]]


# --- dictionaries


def test_ids_count_from_the_four_special_symbols(write: Write) -> None:
    dictionary = read_dictionary(write("dict.txt", "the 7", "house 3", "▁ 1"))
    assert dictionary.symbols == ("<s>", "<pad>", "</s>", "<unk>", "the", "house", "▁")
    assert dictionary.counts[4:] == (7, 3, 1)
    # any white space parts symbols; no is unknown
    assert dictionary.encode(" house\u00a0no the\t").tolist() == [5, 3, 4, 2]
    assert dictionary.encode("").tolist() == [2]
    assert dictionary.text([0, 5, 3, 4, 2, 1]) == "house <unk> the"


def test_a_dictionary_has_the_frequent_first_and_a_multiple_of_eight(tmp_path: Path) -> None:
    # b 3, a 2, é 2 (é comes after all of a-z), c 1; the special one of the text does not count.
    # 4 + 4 symbols are a multiple already.
    lines = ["b é b", "a c b", "a é </s>"]
    write_dictionary(build_dictionary(lines), tmp_path / "dict.txt")
    assert (tmp_path / "dict.txt").read_text() == "b 3\na 2\né 2\nc 1\n"
    # two at least: 4 + 3 and one more; the name is taken, so the next is made up
    lines = [line.replace("c", "madeupword0000").replace("b", "madeupword0000") for line in lines]
    write_dictionary(build_dictionary(lines, least=2), tmp_path / "dict.txt")
    assert (tmp_path / "dict.txt").read_text() == ("madeupword0000 4\na 2\né 2\nmadeupword0001 0\n")


def test_a_dictionary_has_no_more_symbols_than_asked_for() -> None:
    dictionary = build_dictionary(["a a a b b c"], size=6, multiple=1)
    assert dictionary.symbols[4:] == ("a", "b")


def test_what_is_overwritten_means_the_later_id(write: Write, tmp_path: Path) -> None:
    path = write("dict.txt", "a 5", "b 4", "a 3 #fairseq:overwrite", "</s> 2 #fairseq:overwrite")
    dictionary = read_dictionary(path)
    # the end that is appended stays id 2, whatever the text's </s> means
    assert dictionary.encode("a b </s>").tolist() == [6, 5, 7, 2]
    assert dictionary.repeated() == ["</s>", "a"]
    write_dictionary(dictionary, tmp_path / "again.txt")
    assert (tmp_path / "again.txt").read_text() == path.read_text()


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["a 1", "b"], "line 2: expected 'SYMBOL COUNT', perhaps followed by .*, found 'b'"),
        (["a many"], "line 1: expected 'SYMBOL COUNT'"),
        (["a 1", ""], "line 2: expected 'SYMBOL COUNT'"),
        (["a 1", "b 1", "a 2"], "line 3: 'a' has an id already; a line that is to overwrite it"),
        (["<pad> 1"], "line 1: '<pad>' has an id already"),
    ],
)
def test_a_line_that_cannot_be_is_named(write: Write, lines: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=f"dict.txt, {sentence}"):
        read_dictionary(write("dict.txt", *lines))


def test_a_symbol_that_would_break_the_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot hold the symbol"):
        write_dictionary(make_dictionary(["a\rb"]), tmp_path / "dict.txt")
    assert not (tmp_path / "dict.txt").exists()


# --- binarised sentences

# Sentences 4 5 2 and 6 2 of a vocabulary below 65,500: two bytes an id, the second starts at 6.
BIN = bytes([4, 0, 5, 0, 2, 0, 6, 0, 2, 0])
IDX = (
    b"MMIDIDX\0\0"
    + struct.pack("<Q", 1)
    + b"\x08"
    + struct.pack("<Q", 2)
    + struct.pack("<ii", 3, 2)
    + struct.pack("<qq", 0, 6)
)


def test_two_sentences_are_these_bytes(tmp_path: Path) -> None:
    with SentenceWriter(tmp_path / "x", vocabulary=10) as out:
        out.add([4, 5, 2])
        out.add(np.array([6, 2]))
    assert (tmp_path / "x.bin").read_bytes() == BIN
    assert (tmp_path / "x.idx").read_bytes() == IDX
    found = BinarySentences(tmp_path / "x")
    assert [one.tolist() for one in found] == [[4, 5, 2], [6, 2]]
    assert found[-1].tolist() == [6, 2]
    assert [one.tolist() for one in found[:1]] == [[4, 5, 2]]
    assert found.sizes.tolist() == [3, 2]
    with pytest.raises(IndexError):
        found[2]


@pytest.mark.parametrize(
    ("vocabulary", "dtype"),
    [
        (65_499, "<u2"), (65_500, "<u4"), (4_294_967_294, "<u4"), (4_294_967_295, "<i8"),
        (None, "<u4"),
    ],
)  # fmt: skip
def test_ids_are_as_wide_as_the_vocabulary_needs(vocabulary: int | None, dtype: str) -> None:
    assert id_dtype(vocabulary) == np.dtype(dtype)


@pytest.mark.parametrize("code", DTYPES)
def test_every_dtype_is_read_and_written(tmp_path: Path, code: int) -> None:
    dtype = np.dtype(DTYPES[code])
    with SentenceWriter(tmp_path / "x", dtype=dtype) as out:
        out.add([4, 100, 2])
        out.add([])
        out.add([7])
    # the code stands behind magic and version; 7 is the same dtype as 6
    assert (tmp_path / "x.idx").read_bytes()[17] == (6 if code == 7 else code)
    assert len((tmp_path / "x.bin").read_bytes()) == 4 * dtype.itemsize
    written = bytearray((tmp_path / "x.idx").read_bytes())
    written[17] = code
    (tmp_path / "x.idx").write_bytes(written)
    assert [one.tolist() for one in BinarySentences(tmp_path / "x")] == [[4, 100, 2], [], [7]]


def test_no_sentences_are_two_files_all_the_same(tmp_path: Path) -> None:
    with SentenceWriter(tmp_path / "x", vocabulary=10):
        pass
    assert (tmp_path / "x.bin").read_bytes() == b""
    assert list(BinarySentences(tmp_path / "x")) == []


@pytest.mark.parametrize("row", [[4, 10, 2], [-1]])
def test_an_id_that_does_not_fit_leaves_no_file(tmp_path: Path, row: list[int]) -> None:
    with (
        pytest.raises(MismatchError, match=r"x, sentence 2: id (10|-1) is not in 0 to 9"),
        SentenceWriter(tmp_path / "x", vocabulary=10) as out,
    ):
        out.add([4, 2])
        out.add(row)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("index", "data", "sentence"),
    [
        (IDX[:-1], BIN, "x.idx has 49 bytes; 2 sentences need 50"),
        (IDX, BIN[:-1], "x.bin has 9 bytes, and .*x.idx speaks of 10; they do not belong together"),
        (b"TNTIDX\0\0" + IDX, BIN, "layout 'lazy or cached'; only mmap can be read"),
        (b"hello", BIN, "is not an index of fairseq"),
        (IDX[:9] + b"\x02" + IDX[10:], BIN, "is of version 2; only version 1"),
        (IDX[:17] + b"\x0b" + IDX[18:], BIN, "unknown dtype 11"),
        (IDX[:-8] + struct.pack("<q", -6), BIN, "a length or a position is below 0"),
    ],
)
def test_damage_is_named(tmp_path: Path, index: bytes, data: bytes, sentence: str) -> None:
    (tmp_path / "x.idx").write_bytes(index)
    (tmp_path / "x.bin").write_bytes(data)
    with pytest.raises(InputError, match=sentence):
        BinarySentences(tmp_path / "x")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read .*x.idx: No such file"):
        BinarySentences(tmp_path / "x")


# --- folders


@pytest.fixture
def text(write: Write) -> Path:
    """The folder of train and valid, each of an English and a German side."""
    write("train.en", "a house", "a cat")
    write("train.de", "ein haus", "eine katze")
    write("valid.en", "a dog")
    return write("valid.de", "ein hund").parent


def test_a_folder_is_what_fairseq_reads(text: Path, call: Call) -> None:
    folder = text / "data"
    code, out, err = call(
        "fairseq", "write-data", folder, "--source", "en", "--target", "de",
        "--train", text / "train", "--valid", text / "valid", "--valid", text / "train",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert out.splitlines()[:4] == [
        "dict.en.txt: 8 symbols",
        "dict.de.txt: 8 symbols",
        "train.en: 2 sentences, 6 ids, 0% <unk>",
        "train.de: 2 sentences, 6 ids, 0% <unk>",
    ]
    assert "valid.en: 1 sentences, 3 ids, 33.3% <unk>" in out
    expected = {f"dict.{side}.txt" for side in ("en", "de")} | {
        f"{split}.en-de.{side}.{ending}"
        for split in ("train", "valid", "valid1")
        for side in ("en", "de")
        for ending in ("bin", "idx")
    }
    assert {path.name for path in folder.iterdir()} == expected
    # a 2, then cat and house once each, in this order; made up to eight
    assert (folder / "dict.en.txt").read_text() == "a 2\ncat 1\nhouse 1\nmadeupword0000 0\n"
    data = open_data(folder)
    assert list(data.splits) == ["train", "valid", "valid1"]
    assert [one.tolist() for one, _ in data.ids("train")] == [[4, 6, 2], [4, 5, 2]]
    assert list(data.text("train")) == [("a house", "ein haus"), ("a cat", "eine katze")]
    assert list(data.text("valid")) == [("a <unk>", "ein <unk>")]
    with pytest.raises(UnknownNameError, match="unknown split 'test'; choose one of: train, valid"):
        data.ids("test")


def test_a_folder_becomes_text_again(text: Path, call: Call) -> None:
    write = ("--source", "en", "--target", "de", "--train", text / "train", "--joined")
    assert call("fairseq", "write-data", text / "data", *write)[0] == 0
    # one dictionary: 4 special ones and a, cat, ein, eine, haus, house, katze, made up to 16
    assert (text / "data" / "dict.de.txt").read_text().count("\n") == 12
    code, out, _ = call("fairseq", "read-data", text / "data", text / "again")
    assert (code, out) == (0, f"{text / 'again' / 'train.en-de.tsv'}\t2 pairs\n")
    written = (text / "again" / "train.en-de.tsv").read_text()
    assert written == "a house\tein haus\na cat\teine katze\n"


@pytest.mark.parametrize(
    ("joiner", "source"), [("sentencepiece", "a big house"), ("subword-nmt", "▁a ▁big ▁ho use")]
)
def test_symbols_are_joined(write: Write, call: Call, joiner: str, source: str) -> None:
    start = write("train.en", "▁a ▁big ▁ho use").with_suffix("")
    write("train.de", "ein gro@@ ßes haus")
    options = ("--source", "en", "--target", "de", "--train", start)
    assert call("fairseq", "write-data", start.parent / "data", *options)[0] == 0
    code, _, _ = call(
        "fairseq", "read-data", start.parent / "data", start.parent / "out", "--joiner", joiner
    )
    target = {"sentencepiece": "eingro@@ßeshaus", "subword-nmt": "ein großes haus"}[joiner]
    assert code == 0
    written = (start.parent / "out" / "train.en-de.tsv").read_text()
    assert written == f"{source}\t{target}\n"


def test_a_models_pieces_keep_its_ids_or_are_trimmed(
    text: Path, call: Call, tiny_model: Path
) -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    options = ("--source", "en", "--target", "de", "--train", text / "train", "--model", tiny_model)
    assert call("fairseq", "write-data", text / "whole", *options)[0] == 0
    whole = open_data(text / "whole")
    assert whole.source_dictionary.symbols == whole.target_dictionary.symbols
    assert len(whole.source_dictionary) == len(tokenizer)
    sources, targets = whole.splits["train"]
    # the encoder's whole input, <s> in front; of the target the pieces and </s> alone
    assert sources[0].tolist() == tokenizer("a house")["input_ids"]
    assert targets[1].tolist() == tokenizer("eine katze")["input_ids"][1:]

    assert call("fairseq", "write-data", text / "small", *options, "--trim")[0] == 0
    small = open_data(text / "small")
    assert len(small.source_dictionary) < len(tokenizer)
    assert len(small.source_dictionary) % 8 == 0
    assert list(small.text("train")) == list(whole.text("train"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "nothing to write; give --train, --valid or --test"),
        (["--valid", "valid"], "without --train there is no text to build a dictionary of"),
        (["--train", "train", "--model", "x", "--size", "9"], "--model brings its own dictionary"),
        (["--train", "none"], "cannot read none.en: No such file"),
    ],
)
def test_what_cannot_be_written_is_said(
    text: Path, call: Call, monkeypatch: pytest.MonkeyPatch, options: list[str], sentence: str
) -> None:
    monkeypatch.chdir(text)
    command = ("fairseq", "write-data", "data", "--source", "en", "--target", "de", *options)
    code, out, err = call(*command)
    assert (code, out) == (2, "")
    assert err.startswith(f"bitext fairseq write-data: {sentence}")
    assert not (text / "data").exists()


def test_sides_of_unequal_length_leave_no_folder(write: Write, tmp_path: Path) -> None:
    source, target = write("a.en", "a", "b"), write("a.de", "a", "b", "c")
    side = make_dictionary(["a"])
    for first, second, counts in (
        (source, target, "a.en has 2 lines, .*a.de has 3"),
        (target, source, "a.de has 3 lines, .*a.en has 2"),
    ):
        with pytest.raises(InputError, match=counts):
            write_data(
                tmp_path / "data", Side("en", side), Side("de", side), {"train": (first, second)}
            )
    assert not (tmp_path / "data").exists()


def test_a_line_that_fairseq_would_part_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_bytes(b"good\r\nbad\rline\n")
    with pytest.raises(InputError, match="a.en, line 2: a carriage return inside a line"):
        list(text_lines(tmp_path / "a.en"))


@pytest.mark.parametrize(
    ("source", "target", "split", "sentence"),
    [
        ("e-n", "de", "train", "'e-n' cannot name a language"),
        ("de", "de", "train", "source and target are both 'de'"),
        ("en", "de", "dev", "unknown split 'dev'"),
    ],
)
def test_names_that_fairseq_would_not_find_are_refused(
    tmp_path: Path, source: str, target: str, split: str, sentence: str
) -> None:
    side = make_dictionary(["a"])
    with pytest.raises(InputError, match=sentence):
        write_data(tmp_path / "data", Side(source, side), Side(target, side), {split: ("x", "y")})


def binarised(folder: Path, pair: str, rows: int, dictionary: Dictionary) -> None:
    """A folder with one more pair of languages, ``rows`` and one sentences of id 4."""
    folder.mkdir(exist_ok=True)
    for language, count in zip(pair.split("-"), (rows, 1), strict=True):
        write_dictionary(dictionary, folder / f"dict.{language}.txt")
        with SentenceWriter(folder / f"train.{pair}.{language}", vocabulary=9) as out:
            for _ in range(count):
                out.add([4, 2])


def test_several_pairs_must_be_told_apart(tmp_path: Path) -> None:
    dictionary = make_dictionary(["a"])
    with pytest.raises(InputError, match="holds no binarised bitext"):
        open_data(tmp_path / "data")
    binarised(tmp_path / "data", "en-de", 1, dictionary)
    binarised(tmp_path / "data", "en-fr", 1, dictionary)
    with pytest.raises(InputError, match="more than one pair; it has en-de, en-fr: name source"):
        open_data(tmp_path / "data", "en")
    with pytest.raises(InputError, match=r"no pair \*-nl; it has en-de, en-fr"):
        open_data(tmp_path / "data", target="nl")
    assert open_data(tmp_path / "data", target="fr").target == "fr"


def test_files_that_do_not_belong_together_are_told(tmp_path: Path) -> None:
    binarised(tmp_path / "data", "en-de", 2, make_dictionary(["a"]))
    with pytest.raises(InputError, match="en-de.en.idx has 2 sentences, .*en-de.de.idx has 1"):
        open_data(tmp_path / "data")
    binarised(tmp_path / "other", "en-de", 1, make_dictionary([]))
    with pytest.raises(MismatchError, match="sentence 1, en: id 4 is not in the dictionary of 4"):
        list(open_data(tmp_path / "other").text("train"))
