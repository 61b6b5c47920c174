"""Loads each model once and shares it between tasks and threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache

from bitext.errors import TooLargeError
from encoders.checkpoint import ModelKey, load_checkpoint
from encoders.encoder import Encoder
from encoders.preset import BUNDLED


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

    Threads that ask for the same model at the same moment wait for one load and share its result.
    When the models together take more than ``memory_limit`` bytes once a new one is loaded, those
    used longest ago are let go; a caller that still holds one keeps it until it is done.
    """

    def __init__(self, *, memory_limit: int | None = None) -> None:
        self.memory_limit = memory_limit
        self._encoders: dict[ModelKey, Encoder] = {}  # in order of last use
        self._loading: dict[ModelKey, threading.Lock] = {}
        self._lock = threading.Lock()

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
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            encoder = self._use(key)
            if encoder is None:
                encoder = Encoder(load_checkpoint(key))
                self._admit(key, encoder)
        return encoder

    def loaded(self) -> list[LoadedModel]:
        """What is in memory now, the one used last at the end."""
        with self._lock:
            return [_describe(key, encoder) for key, encoder in self._encoders.items()]

    def evict(self, name: str) -> int:
        """Let go of every loaded form of ``name``; the number of them."""
        with self._lock:
            keys = [key for key in self._encoders if key.name == name]
            for key in keys:
                del self._encoders[key]
        return len(keys)

    def _use(self, key: ModelKey) -> Encoder | None:
        with self._lock:
            encoder = self._encoders.pop(key, None)
            if encoder is not None:
                self._encoders[key] = encoder
        return encoder

    def _admit(self, key: ModelKey, encoder: Encoder) -> None:
        limit = self.memory_limit
        if limit is not None and encoder.bytes > limit:
            raise TooLargeError(
                f"model '{key.name}' takes {encoder.bytes} bytes, more than the limit of {limit}"
            )
        with self._lock:
            taken = encoder.bytes + sum(e.bytes for e in self._encoders.values())
            for old in list(self._encoders):
                if limit is None or taken <= limit:
                    break
                taken -= self._encoders.pop(old).bytes
            self._encoders[key] = encoder


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
