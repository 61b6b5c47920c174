"""A job that trains a multilingual model further: the command ``bitext adapt``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from service.jobs.kinds.fields import Device, Model
from service.jobs.work import Work

ARTEFACTS = {
    "model": "out/model",
    "log.jsonl": "out/run/log.jsonl",
    "config.json": "config.json",
}
GOLD = ("src", "tgt", "gold")


class Settings(BaseModel):
    """What there is besides the recipe, which was looked at when the job was submitted.

    To look at it again would take torch, and a worker has no time to wait for that.
    """

    model_config = ConfigDict(extra="allow")

    model: Model = None
    device: Device = "cpu"


def whole() -> type[BaseModel]:
    from service.jobs.kinds.adaptation import AdaptSettings

    return AdaptSettings


def steps(settings: Settings, work: Work) -> list[list[str]]:
    recipe = settings.model_dump(exclude={"device", "model"}, exclude_unset=True, mode="json")
    _resolve(recipe, work)
    file = work.write("config.json", recipe)
    model = work.model(settings.model, "settings.model")
    return [
        [
            "bitext", "adapt", f"--output={work.out}", f"--data={work.inputs}",
            f"--device={settings.device}", f"--model={model}", "--", str(file),
        ]
    ]  # fmt: skip


def _resolve(recipe: dict[str, Any], work: Work) -> None:
    """Names of files and models become what the command finds."""
    dev, replay, language = (recipe.get(key) or {} for key in ("dev", "replay", "language"))
    lists = [
        (recipe, "corpora", ""), (recipe, "monolingual", ""), (replay, "corpora", "replay."),
        (language, "text", "language."), (dev, "retrieval", "dev."),
    ]  # fmt: skip
    for section, key, where in lists:
        if key in section:
            section[key] = [
                work.file(name, f"settings.{where}{key}.{number}")
                for number, name in enumerate(section[key])
            ]
    for number, one in enumerate(dev.get("alignment", ())):
        for key in one:
            one[key] = work.file(one[key], f"settings.dev.alignment.{number}.{key}")
    if "gold" in recipe:
        recipe["gold"] = [
            work.together(one, GOLD, f"settings.gold.{number}")
            if isinstance(one, dict)
            else work.stem(one, GOLD, f"settings.gold.{number}")
            for number, one in enumerate(recipe["gold"])
        ]
    if recipe.get("teacher") is not None:
        recipe["teacher"] = work.model(recipe["teacher"], "settings.teacher")
