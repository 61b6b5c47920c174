"""A job that trains a translation model: ``bitext train``, and perhaps its publication."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from nmt.training.config import TrainConfig
from service.jobs.kinds.fields import Device
from service.jobs.work import Work
from service.schemas.fields import IndexName

ARTEFACTS = {
    "model": "out/model",
    "log.jsonl": "out/run/log.jsonl",
    "config.json": "config.json",
}


class Settings(TrainConfig):
    """The keys of the file of `bitext train`, and these."""

    device: Device = "cpu"
    publish: IndexName | None = Field(
        None, description="The name under which /v1/translate finds the model."
    )


def whole() -> type[Settings]:
    return Settings


def steps(settings: Settings, work: Work) -> list[list[str]]:
    config = settings.model_dump(exclude={"device", "publish"}, exclude_unset=True, mode="json")
    _resolve(config, settings, work)
    file = work.write("config.json", config)
    trained = [
        "bitext", "train", f"--output={work.out}", f"--data={work.inputs}",
        f"--device={settings.device}", "--", str(file),
    ]  # fmt: skip
    if settings.publish is None:
        return [trained]
    place = work.service.translators / settings.publish
    return [trained, ["service.jobs.publishing", str(work.out / "model"), str(place)]]


def _resolve(config: dict[str, Any], settings: Settings, work: Work) -> None:
    """Names of files and models become what the command finds."""
    data = config["data"]
    for section in ("corpora", "dev", "monolingual", "dev_monolingual"):
        for number, one in enumerate(data.get(section, ())):
            for key in ("file", "source", "target"):
                if one.get(key) is not None:
                    field = f"settings.data.{section}.{number}.{key}"
                    one[key] = work.file(one[key], field)
    vocabulary = config.get("vocabulary", {})
    if "text" in vocabulary:
        vocabulary["text"] = [
            work.file(name, f"settings.vocabulary.text.{number}")
            for number, name in enumerate(vocabulary["text"])
        ]
    start = settings.initialize.model
    if start is not None:
        config.setdefault("initialize", {})["model"] = work.model(
            start, "settings.initialize.model"
        )
    if settings.fuse is not None:
        config["fuse"]["encoder"] = work.model(settings.fuse.encoder, "settings.fuse.encoder")
