"""Jobs of each kind: the settings taken, the commands they become, the files they read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bitext.errors import BitextError, TooLargeError
from service.database.tables import now
from service.jobs.kinds import Plan, plan
from service.jobs.kinds.fields import options
from service.jobs.placing import place
from service.jobs.tables import UploadRow
from service.jobs.work import Work
from service.settings import Settings

ID = "0123456789abcdef"
TRAIN: dict[str, Any] = {
    "data": {
        "source_lang": "en",
        "target_lang": "de",
        "corpora": [{"file": f"upload:{ID}"}, {"source": "input:en.txt", "target": "input:de.txt"}],
    },
    "vocabulary": {"text": ["input:de.txt"]},
    "stages": [{"steps": 5}],
}
ADAPT: dict[str, Any] = {
    "corpora": ["input:sub/pairs.en-de.tsv"],
    "stages": [{"name": "all", "steps": 5, "objectives": {"tlm": {}}}],
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A service with a folder of inputs, with an upload, and with what must not be read."""
    inputs = tmp_path / "inputs"
    (inputs / "sub").mkdir(parents=True)
    for name in ("en.txt", "de.txt", "sub/pairs.en-de.tsv", "-o.txt"):
        (inputs / name).write_text("a\n")
    (tmp_path / "secret.txt").write_text("42\n")
    (inputs / "out.txt").symlink_to(tmp_path / "secret.txt")
    (inputs / "within.txt").symlink_to(inputs / "en.txt")
    (inputs / "loop").symlink_to(inputs / "loop")
    (tmp_path / "inputs-beside").mkdir()
    (tmp_path / "inputs-beside" / "x.txt").write_text("42\n")
    return Settings(
        data_dir=tmp_path / "data", input_dir=inputs, models=("other",), max_index_sentences=10
    )


def find(id: str) -> UploadRow | None:
    if id != ID:
        return None
    return UploadRow(id=id, name="../my corpus.en-de.tsv.gz", bytes=1, sha256="", created=now())


def planned(
    settings: Settings, kind: str, given: dict[str, Any], *, folder: Path | None = None
) -> Plan:
    return plan(kind, given, Work(settings, find, folder))


MINE = {"source": "input:en.txt", "target": "input:de.txt"}


def test_the_command_of_a_mining_job(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    (step,) = planned(
        settings, "mine", {**MINE, "k": 2, "score_only": True, "model": "other"}, folder=folder
    ).steps
    assert step[:2] == ["bitext", "mine"]
    assert {"--k=2", "--score-only", "--model=other", f"--output={folder}/out/mined.tsv"} < set(
        step
    )
    assert step[-3] == "--"
    assert [Path(name).read_text() for name in step[-2:]] == ["a\n", "a\n"]
    assert [Path(name).resolve().name for name in step[-2:]] == ["en.txt", "de.txt"]


def test_no_value_becomes_an_option(settings: Settings) -> None:
    assert options(prefix="--output=/etc", k=4, yes=True, no=False, none=None) == [
        "--prefix=--output=/etc", "--k=4", "--yes",
    ]  # fmt: skip
    (step,) = planned(settings, "mine", {**MINE, "source": "input:-o.txt"}).steps
    assert step.index("--") == len(step) - 3


def test_the_commands_of_a_training_job(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    made = planned(settings, "train", {**TRAIN, "publish": "en-de"}, folder=folder)
    train, publish = made.steps
    assert not made.gpu
    assert train == [
        "bitext", "train", f"--output={folder}/out", f"--data={folder}/inputs", "--device=cpu",
        "--", f"{folder}/config.json",
    ]  # fmt: skip
    assert publish[-2:] == [f"{folder}/out/model", f"{settings.data_dir}/translation-models/en-de"]
    config = json.loads((folder / "config.json").read_text())
    assert config["data"]["corpora"] == [
        {"file": "1/_._my_corpus.en-de.tsv.gz"},
        {"source": "2/en.txt", "target": "3/de.txt"},
    ]
    assert config["vocabulary"]["text"] == ["4/de.txt"]
    assert config["initialize"] == {"model": "bundled"}
    assert os.readlink(folder / "inputs/1/_._my_corpus.en-de.tsv.gz") == str(settings.uploads / ID)


def test_a_job_that_is_planned_again_finds_what_it_had(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    first = planned(settings, "train", TRAIN, folder=folder)
    written = (folder / "config.json").read_bytes()
    assert planned(settings, "train", TRAIN, folder=folder) == first
    assert (folder / "config.json").read_bytes() == written


def test_a_training_may_begin_with_nothing(settings: Settings, tmp_path: Path) -> None:
    planned(settings, "train", {**TRAIN, "initialize": {"model": None}}, folder=tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["initialize"] == {"model": None}


def test_the_command_of_an_adaptation(settings: Settings, tmp_path: Path) -> None:
    gold = {"src": f"upload:{ID}", "tgt": "input:de.txt", "gold": "input:en.txt"}
    given = {**ADAPT, "gold": [gold], "device": "cuda:0", "model": "other"}
    trial = planned(settings, "adapt", given)
    made = planned(settings, "adapt", given, folder=tmp_path)
    assert trial.gpu
    assert made.gpu
    (step,) = made.steps
    assert step[:2] == ["bitext", "adapt"]
    assert {"--device=cuda:0", "--model=other"} < set(step)
    recipe = json.loads((tmp_path / "config.json").read_text())
    assert recipe["corpora"] == ["1/pairs.en-de.tsv"]
    assert recipe["gold"] == ["2/text"]
    assert sorted(path.name for path in (tmp_path / "inputs/2").iterdir()) == [
        "text.gold", "text.src", "text.tgt",
    ]  # fmt: skip
    assert "model" not in recipe


def test_settings_have_a_largest_size(settings: Settings) -> None:
    data = {**TRAIN["data"], "corpora": [1] * 40_000}
    with pytest.raises(TooLargeError, match="field 'settings': 12[0-9]{4} characters as JSON"):
        planned(settings, "train", {**TRAIN, "data": data})


def test_the_commands_of_an_index(settings: Settings, tmp_path: Path) -> None:
    given = {"index": "mine", "file": "input:de.txt", "language": "de"}
    build, last = planned(settings, "index", given, folder=tmp_path / ID).steps
    assert {"--overwrite", "--language=de", "--limit=10"} < set(build)
    assert last[1:] == [str(tmp_path / ID / "built"), str(settings.indexes / "mine"), "100"]
    (settings.indexes / "mine").mkdir(parents=True)
    (settings.indexes / "mine" / "manifest.json").touch()
    (add,) = planned(settings, "index", {**given, "mode": "add"}, folder=tmp_path / ID).steps
    assert {"--add", f"--once=job {ID}", f"--output={settings.indexes}/mine"} < set(add)
    with pytest.raises(BitextError, match="there is an index 'mine'; say mode 'add'"):
        planned(settings, "index", given)
    full = settings.model_copy(update={"max_indexes": 1})
    with pytest.raises(BitextError, match=r"there are 1 indexes, .* \(BITEXT_MAX_INDEXES\)"):
        planned(full, "index", {**given, "index": "other"})


def test_an_index_is_placed_where_there_is_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("built", "indexes/one"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "manifest.json").touch()
    two = tmp_path / "indexes/two"
    assert place(tmp_path / "built", two, 1) == 2
    assert "BITEXT_MAX_INDEXES" in capsys.readouterr().err
    assert place(tmp_path / "built", two, 2) == 0
    assert (two / "manifest.json").is_file()
    assert place(tmp_path / "built", two, 1) == 0  # it has been done


@pytest.mark.parametrize(
    "name",
    [
        "input:../secret.txt",
        "input:sub/../../secret.txt",
        "input:/etc/passwd",
        "input:out.txt",  # a link that leads out
        "input:../inputs-beside/x.txt",
        "input:loop",
        "input:",
        "input:.",
        "input:nothing.txt",
        "input:sub",
        "upload:../../secret.txt",
        f"upload:{ID[::-1]}",
        "upload:",
        "/etc/passwd",
        "en.txt",
        "file:en.txt",
        "",
    ],
)
def test_no_other_file_is_read(settings: Settings, name: str) -> None:
    with pytest.raises(BitextError, match="field 'settings.source'"):
        planned(settings, "mine", {**MINE, "source": name})
    with pytest.raises(BitextError, match=r"field 'settings.data.corpora.0.file'"):
        data = {**TRAIN["data"], "corpora": [{"file": name}]}
        planned(settings, "train", {**TRAIN, "data": data})


def test_a_link_within_the_inputs_is_followed(settings: Settings) -> None:
    assert planned(settings, "mine", {**MINE, "source": "input:within.txt"}).steps


def test_a_service_without_inputs_reads_uploads_only(settings: Settings) -> None:
    closed = settings.model_copy(update={"input_dir": None})
    with pytest.raises(BitextError, match=r"no folder of inputs \(BITEXT_INPUT_DIR\)"):
        planned(closed, "mine", MINE)
    given = {"source": f"upload:{ID}", "target": f"upload:{ID}"}
    work = Work(closed, find)
    plan("mine", given, work)
    assert work.uploads == {ID}


@pytest.mark.parametrize(
    ("kind", "change", "sentence"),
    [
        ("mine", {"k": "4"}, "field 'settings.k': input should be a valid integer, got \"4\""),
        ("mine", {"k": 0}, "field 'settings.k'"),
        ("mine", {"kk": 1}, "unknown field 'kk'; choose one of: centring"),
        ("mine", {"source": None}, "field 'settings.source'"),
        ("mine", {"margin": "wide"}, "unknown margin 'wide'"),
        ("mine", {"filters": "nothing"}, "unknown filter 'nothing'"),
        ("mine", {"centring": "/etc"}, "field 'settings.centring'"),
        ("mine", {"search": "hnws"}, "unknown kind of index 'hnws'"),
        ("mine", {"known": "input:en.txt"}, "field 'settings.known' is for precision"),
        ("mine", {"model": "/etc"}, "field 'settings.model': unknown model '/etc'; choose one of: "
                                    "bundled, other, or job:ID"),
        ("mine", {"model": f"job:{ID}"}, f"job '{ID}' has left no model"),
        ("mine", {"model": "job:../x"}, "has left no model"),
        ("mine", {"device": "tpu"}, "field 'settings.device'"),
        ("train", {"stages": []}, "field 'settings.stages': expected at least 1 item, got none"),
        ("train", {"stages": [{"steps": "5"}]}, "field 'settings.stages.0.steps'"),
        ("train", {"seed": 10**40}, f"field 'settings.seed': input should be less than or equal to "
                                    f"{2**63 - 1}, got {10**40}"),
        ("train", {"stages": [{"steps": 10**30}]}, "field 'settings.stages.0.steps': input should "
                                                   "be less than or equal to 1000000000, got 1000"),
        ("adapt", {"seed": 10**40}, f"field 'settings.seed': input should be less than or equal to "
                                    f"{2**63 - 1}, got {10**40}"),
        ("train", {"stages": [{"steps": 1, "name": "\0"}]},
         "field 'settings.stages.0.name': expected 1 to 200 characters that can be printed"),
        ("train", {"data": {**TRAIN["data"], "target_lang": ""}},
         "field 'settings.data.target_lang': expected 1 to 200 characters that can be"),
        ("mine", {"filters": "length_ratio:most=inf"}, "most=inf: input should be a finite number"),
        ("index", {"search": "hnws"}, "unknown kind of index 'hnws'"),
        ("train", {"seeed": 1}, "field 'settings.seeed': unknown key; choose one of: "),
        ("train", {"stages": [{"steps": 5, "lr": 1}]}, "field 'settings.stages.0.lr': unknown key"),
        ("train", {"publish": "../x"}, "field 'settings.publish'"),
        ("train", {"initialize": {"model": "/etc"}}, "field 'settings.initialize.model': unknown"),
        ("train", {"model": {"dim": 3, "heads": 2}}, "model.dim 3 is not a multiple of 2 heads"),
        ("adapt", {"teacher": "/etc"}, "field 'settings.teacher': unknown model"),
        ("adapt", {"gold": [3]}, "expected 'input:stem', or objects of src, tgt and gold"),
        ("adapt", {"gold": [{"src": "input:en.txt"}]}, "expected an object of src, tgt, gold"),
        ("adapt", {"gold": ["input:en"]}, "there is no file 'input:en.src'"),
        ("adapt", {"stages": [{"name": "a", "steps": 1, "objectives": {"xlm": {}}}]},
         "unknown objective 'xlm'"),
        ("index", {"index": "A/b"}, "field 'settings.index'"),
        ("index", {"index": "sample"}, "belongs to the service"),
        ("index", {"mode": "add"}, "field 'settings.index': there is no index 'x'"),
        ("index", {"lines": "languages"}, "every line says its own"),
    ],
)  # fmt: skip
def test_other_settings_are_refused(
    settings: Settings, kind: str, change: dict[str, Any], sentence: str
) -> None:
    good = {
        "mine": MINE, "train": TRAIN, "adapt": ADAPT,
        "index": {"index": "x", "file": "input:de.txt", "language": "de"},
    }  # fmt: skip
    with pytest.raises(BitextError) as refused:
        planned(settings, kind, {**good[kind], **change})
    assert sentence in str(refused.value)


def test_an_unknown_kind_is_refused(settings: Settings) -> None:
    with pytest.raises(BitextError, match="field 'kind': unknown kind 'os'; choose one of: adapt"):
        planned(settings, "os", {})
