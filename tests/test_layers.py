"""Who may import whom: every arrow between the packages, and the libraries kept in one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# package -> the packages of ours that it may import, besides itself
ROOMS = {
    "bitext": set[str](),
    "encoders": {"bitext"},
    "aligners": {"bitext", "encoders"},
    "retrieval": {"bitext", "encoders"},
    "nmt": {"bitext", "encoders"},
    "service": {"bitext", "encoders", "aligners", "retrieval", "nmt"},
}

# library -> the only places that may import it, as the start of a path
PLACES = {
    "fastapi": ("service/",),
    "starlette": ("service/",),
    "uvicorn": ("service/",),
    "faiss": ("retrieval/index/",),
    "fairseq": ("nmt/interop/fairseq_plugin/",),
    "fairseq_cli": ("nmt/interop/fairseq_plugin/",),
    "openvino": ("encoders/int8.py",),
    "sacrebleu": ("nmt/evaluation/evaluate.py",),
    "ctranslate2": ("nmt/interop/ctranslate2.py",),
    "ray": tuple(f"{room}/distributed.py" for room in ROOMS),
    "torch": tuple(f"{room}/" for room in ROOMS if room != "bitext"),
    "transformers": ("encoders/", "nmt/"),
}

# what tests and measurements are made of has no place in the product
FOREIGN = {"tests", "benchmarks", "examples", "pytest", "hypothesis"}


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and top-level name of every import, those inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            # A relative import has no name to look at; ruff (TID252) allows none.
            yield node.lineno, "relative" if node.level else (node.module or "").split(".")[0]


def faults(path: str, source: str) -> list[str]:
    """The imports of the file at ``path``, relative to the root, that should not be there."""
    room = path.split("/")[0]
    found = []
    for line, name in imports(source):
        if name in ROOMS and name != room and name not in ROOMS[room]:
            found.append(f"{path}:{line}: {room} must not import {name}")
        elif name in PLACES and not path.startswith(PLACES[name]):
            found.append(f"{path}:{line}: {name} is for {', '.join(PLACES[name])} only")
        elif name in FOREIGN or name == "relative":
            found.append(f"{path}:{line}: {name} import")
    return found


def modules() -> list[str]:
    found = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


@pytest.mark.parametrize("path", modules())
def test_a_module_imports_only_what_its_room_may(path: str) -> None:
    assert faults(path, (ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("bitext/text.py", "import encoders.encoder", "bitext must not import encoders"),
        ("bitext/text.py", "def f():\n    import torch", "torch is for"),
        ("encoders/encoder.py", "from aligners import aligner", "encoders must not import"),
        (
            "aligners/aligner.py",
            "import os, retrieval.index",
            "aligners must not import retrieval",
        ),
        ("retrieval/vectors/files.py", "import faiss", "faiss is for retrieval/index/ only"),
        (
            "retrieval/store/commands.py",
            "from fastapi import FastAPI",
            "fastapi is for service/ only",
        ),
        (
            "nmt/network/model.py",
            "if True:\n    from service.app import create_app",
            "nmt must not import",
        ),
        ("service/app.py", "from .settings import Settings", "relative import"),
        ("encoders/encoder.py", "from tests.conftest import encoder", "tests import"),
    ],
)
def test_a_wrong_arrow_is_seen(path: str, source: str, fault: str) -> None:
    (found,) = faults(path, source)
    assert fault in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("service/app.py", "import fastapi\nfrom retrieval.index.index import Index"),
        ("retrieval/index/index.py", "import faiss\nfrom encoders.pooling import centre"),
        ("aligners/commands.py", "import typer\nfrom aligners.aligner import Aligner"),
    ],
)
def test_a_right_arrow_is_let_through(path: str, source: str) -> None:
    assert faults(path, source) == []


def test_every_room_that_stands_is_looked_at() -> None:
    standing = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert standing <= set(ROOMS)
    assert {path.split("/")[0] for path in modules()} == standing
