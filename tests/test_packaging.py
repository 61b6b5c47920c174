"""The wheel: the packages it installs, the data inside them, and what it depends on."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

import bitext

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

# Needed by transformers for some checkpoints, or for the files they bring; never imported by us.
NOT_IMPORTED = {"protobuf", "fastapi-offline", "uvloop"}

# What cannot be installed beside bitext; `make fairseq` gives it an environment of its own.
ELSEWHERE = {"fairseq"}

# Libraries that are the inner part of a declared one.
PART_OF = {"pydantic_core": "pydantic", "starlette": "fastapi"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_installs_the_listed_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert top == {*PACKAGES, f"bitext-{bitext.__version__}.dist-info"}


def test_every_package_of_the_tree_is_listed() -> None:
    assert sorted(PACKAGES) == sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


def test_the_wheel_has_every_file_of_its_packages(wheel: zipfile.ZipFile) -> None:
    # Among them what is no Python: the bundled model, the page, the sample sentences.
    there = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert there <= set(wheel.namelist())


def test_the_wheel_brings_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    info = f"bitext-{bitext.__version__}.dist-info"
    assert "bitext = bitext.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    licence = wheel.read(f"{info}/licenses/LICENSE").decode()
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def test_the_citation_is_of_this_version() -> None:
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {bitext.__version__}" in lines


def normal(name: str) -> str:
    """A distribution's name as indexes compare it: ``huggingface_hub`` -> ``huggingface-hub``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras: str) -> set[str]:
    """What everybody gets, and those who ask for ``extras``."""
    optional = PROJECT["project"]["optional-dependencies"]
    requirements = [*PROJECT["project"]["dependencies"], *(r for e in extras for r in optional[e])]
    return {normal(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}


def imported() -> dict[str, set[str]]:
    """Library -> the files of the packages that import it."""
    found: dict[str, set[str]] = {}
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                found.setdefault(name.split(".")[0], set()).add(path.relative_to(ROOT).as_posix())
    ours = {*PACKAGES, *ELSEWHERE, *sys.stdlib_module_names, "_typeshed", "tomllib"}
    return {name: files for name, files in found.items() if name not in ours}


def test_what_is_imported_is_declared() -> None:
    distributions = packages_distributions()
    for name, files in imported().items():
        library = PART_OF.get(name, name)
        candidates = {normal(name) for name in distributions.get(library, [library])}
        assert candidates & declared("plot", "lora", "int8", "langid", "xlm", "ctranslate2"), (
            f"{library} of {sorted(files)} is not in pyproject.toml"
        )


def test_what_is_declared_is_imported() -> None:
    distributions = packages_distributions()
    used = {
        normal(name) for library in imported() for name in distributions.get(library, [library])
    }
    assert declared() - used - NOT_IMPORTED == set()


def test_faiss_for_gpus_is_installed_instead_of_the_declared_one() -> None:
    """Both wheels own the folder faiss/."""
    overrides = (ROOT / "scripts" / "gpu-overrides.txt").read_text(encoding="utf-8")
    (kept_out,) = (line.split(";")[0] for line in overrides.splitlines() if line[0] != "#")
    assert kept_out in declared()
    # what a make that runs these tests has told its own commands
    told = {"GPU", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "PORT", "VENV"}
    environment = {name: value for name, value in os.environ.items() if name not in told}
    plain, gpu = (
        subprocess.run(
            ["make", "--dry-run", "--always-make", "run", *options],
            cwd=ROOT, env=environment, check=True, capture_output=True, text=True,
        ).stdout
        for options in ([], ["GPU=1"])
    )  # fmt: skip
    assert ".venv-gpu" not in plain
    assert "setup.sh .venv-gpu" in gpu
    assert gpu.rstrip().endswith("serve  --device cuda")
