"""A job that trains a multilingual model further: the command ``bitext adapt``."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from encoders.training.adaptation import Adaptation
from service.jobs.kinds.fields import Device, Model
from service.jobs.work import Work

ARTEFACTS = {
    "model": "out/model",
    "log.jsonl": "out/run/log.jsonl",
    "config.json": "config.json",
}
GOLD = ("src", "tgt", "gold")


class Settings(Adaptation):
    """The keys of the file of `bitext adapt`, and these.

    Files are named one by one. Gold is `input:stem`, or an object of src, tgt and gold.
    """

    gold: list[Any] = Field([])
    model: Model = None
    device: Device = "cpu"

    @model_validator(mode="after")
    def _names_gold(self) -> Settings:
        for one in self.gold:
            names = one.values() if isinstance(one, dict) else [one]
            if not all(isinstance(name, str) for name in names):
                raise ValueError("gold: expected 'input:stem', or objects of src, tgt and gold")
        return self


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
