"""What docker/ asks of Prometheus is what the service exports."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.observing.metrics import Metrics

DOCKER = Path(__file__).parents[1] / "docker"
DASHBOARDS = sorted((DOCKER / "grafana" / "dashboards").glob("*.json"))
RULES = DOCKER / "prometheus" / "alerts.yml"
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def exported() -> dict[str, tuple[str, ...]]:
    """The names of all series, and their labels."""
    metrics = Metrics("1")
    metrics.watch(models=list, ready=lambda: True, jobs=dict)
    found: dict[str, tuple[str, ...]] = {}
    for collector in list(metrics.registry._names_to_collectors.values()):
        for family in getattr(collector, "describe", collector.collect)():
            labels = getattr(collector, "_labelnames", getattr(family, "_labelnames", ()))
            for suffix in SUFFIXES.get(family.type, ("",)):
                found[family.name + suffix] = tuple(labels)
    return found


def asked(expression: str) -> Iterator[str]:
    """The names of series in an expression of PromQL."""
    yield from re.findall(r"\b(?:bitext|process)_[a-z_]+\b", expression)


def expressions() -> Iterator[tuple[str, str]]:
    """Where an expression stands, and the expression."""
    for path in DASHBOARDS:
        board = json.loads(path.read_text(encoding="utf-8"))
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                yield f"{path.name}: {panel['title']}", target["expr"]
        for variable in board["templating"]["list"]:
            yield f"{path.name}: ${variable['name']}", variable["definition"]
    for line in RULES.read_text(encoding="utf-8").splitlines():
        if "bitext_" in line or "process_" in line:
            yield RULES.name, line


def test_every_figure_that_is_asked_for_is_exported() -> None:
    known = exported()
    asked_for = [(where, name) for where, text in expressions() for name in asked(text)]
    assert len(asked_for) > 40
    assert [(where, name) for where, name in asked_for if name not in known] == []


def test_every_figure_of_ours_is_shown() -> None:
    shown = {name for _, text in expressions() for name in asked(text)}
    stems = {re.sub("_(total|bucket|sum|count)$", "", name) for name in shown}
    ours = {re.sub("_(total|bucket|sum|count)$", "", name) for name in exported()}
    assert {name for name in ours if name.startswith("bitext_")} <= stems


def test_every_label_that_is_asked_for_is_there() -> None:
    known = exported()
    added = {"instance", "job", "le"}  # by Prometheus
    for where, text in expressions():
        for name, selector in re.findall(r"\b(bitext_[a-z_]+)\{([^}]*)\}", text):
            labels = set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)", selector))
            assert labels <= set(known[name]) | added, (where, name)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_is_whole(path: Path) -> None:
    board: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "command",
    [("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")],
    ids=["config", "rules"],
)
def test_promtool_finds_no_fault(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *command], cwd=RULES.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
