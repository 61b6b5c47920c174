"""Loads each model once and shares it between tasks and threads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from encoders.checkpoint import ModelKey, load_checkpoint
from encoders.encoder import Encoder
from encoders.preset import BUNDLED
from encoders.shelf import Shelf


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory."""

    name: str
    revision: str | None
    dtype: str
    device: str
    fingerprint: str
    layers: int
    dim: int
    bytes: int
    """Memory its weights take."""


class ModelRegistry:
    """The models of this process, each (name, revision, dtype, device) loaded once.

    :param memory_limit: bytes that all models on the ``shelf`` may take together; what is used
        longest ago makes room.
    """

    def __init__(self, *, memory_limit: int | None = None) -> None:
        self.shelf = Shelf(memory_limit=memory_limit)
        """For models of other kinds too, which then share the limit."""

    def encoder(
        self,
        name: str = BUNDLED,
        *,
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> Encoder:
        """The encoder ``name``, loaded if it is not there yet.

        :param dtype: one of ``DTYPES``, or ``auto``: what suits the model and the device.
        :raises ModelNotFoundError: if it is neither a folder nor in the local cache.
        :raises TooLargeError: if it alone takes more than the memory limit.
        """
        key = ModelKey(name, revision, dtype, device).settled()
        return self.shelf.get(key, lambda: Encoder(load_checkpoint(key)), name)

    def loaded(self) -> list[LoadedModel]:
        """The encoders in memory now, the one used last at the end."""
        return [
            _describe(key, model)
            for key, model in self.shelf.held().items()
            if isinstance(key, ModelKey) and isinstance(model, Encoder)
        ]

    def evict(self, name: str) -> int:
        """Let go of every loaded form of the encoder ``name``; the number of them."""
        return self.shelf.remove(lambda key: isinstance(key, ModelKey) and key.name == name)


def _describe(key: ModelKey, encoder: Encoder) -> LoadedModel:
    return LoadedModel(
        key.name,
        key.revision,
        key.dtype,
        key.device,
        encoder.fingerprint,
        encoder.layers,
        encoder.dim,
        encoder.bytes,
    )


@cache
def default_registry() -> ModelRegistry:
    """The registry that everything in this process shares."""
    return ModelRegistry()
