"""The models that requests may name, used in threads so that the event loop never waits."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import anyio
import anyio.to_thread

from bitext.errors import UnknownNameError, choose_from
from service.settings import Settings
from service.translators import Translators

if TYPE_CHECKING:
    from encoders.encoder import Encoder
    from encoders.registry import LoadedModel, ModelRegistry

P = ParamSpec("P")
T = TypeVar("T")


class Models:
    """Models by name, of those the settings allow. Torch is imported when the first is loaded."""

    def __init__(self, settings: Settings, registry: ModelRegistry | None = None) -> None:
        self._settings = settings
        self._registry = registry
        self._limiter = anyio.CapacityLimiter(settings.threads)
        self._lock = threading.Lock()
        self.translators = Translators(settings, lambda: self._shared().shelf)

    @property
    def names(self) -> tuple[str, ...]:
        """The models that requests may name, the default one first."""
        return self._settings.model_names

    def encoder(self, name: str | None = None) -> Encoder:
        """The encoder ``name``, loaded if it is not there yet: for use in :meth:`run`.

        :param name: ``None`` for the default one.
        :raises UnknownNameError: if the settings do not allow it.
        :raises ModelNotFoundError: if it is not on this machine.
        """
        name = self.names[0] if name is None else name
        if name not in self.names:
            raise UnknownNameError(choose_from("model", name, self.names))
        settings = self._settings
        return self._shared().encoder(name, dtype=settings.dtype, device=settings.device)

    def release(self, name: str) -> bool:
        """Let go of the model ``name``; whether it was in memory.

        What is being computed with it is finished first; who asks for it again loads it again.
        """
        return bool(self._shared().evict(name))

    def loaded(self) -> list[LoadedModel]:
        """What is in memory now."""
        return self._registry.loaded() if self._registry is not None else []

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``function`` in a thread; as many at once as the settings say, others wait."""
        call = functools.partial(function, *args, **kwargs)
        return await anyio.to_thread.run_sync(call, limiter=self._limiter)

    def _shared(self) -> ModelRegistry:
        with self._lock:
            if self._registry is None:
                from encoders.registry import ModelRegistry, default_registry

                limit = self._settings.max_model_bytes
                self._registry = ModelRegistry(memory_limit=limit) if limit else default_registry()
        return self._registry
