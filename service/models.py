"""The models that requests may name, used in threads so that the event loop never waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar

import anyio
import anyio.to_thread

from bitext.errors import UnknownNameError, choose_from
from encoders.gathering.callers import HungUpError
from encoders.gathering.events import DONE, FAILED, GONE
from service.batching.admission import Admission
from service.batching.cores import available_cores
from service.batching.disconnects import body_size, heeding_disconnect
from service.batching.events import Events
from service.errors import SHOWN
from service.settings import Settings
from service.translators import Translators

if TYPE_CHECKING:
    from encoders.encoder import Encoder
    from encoders.gathering.gatherer import Gatherer
    from encoders.registry import LoadedModel, ModelRegistry

P = ParamSpec("P")
T = TypeVar("T")


class _Shared(NamedTuple):
    """A model whose batches requests share."""

    own: Encoder
    """As the registry has it."""
    gatherer: Gatherer
    encoder: Encoder
    """By way of the gatherer."""


class Models:
    """Models by name, of those the settings allow. Torch is imported when the first is loaded."""

    def __init__(
        self,
        settings: Settings,
        registry: ModelRegistry | None = None,
        events: Events | None = None,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._told = (events or Events()).emit
        self._limiter = anyio.CapacityLimiter(settings.threads)
        self.admission = Admission(
            requests=settings.max_queue, most=settings.max_queue_bytes, told=self._told
        )
        self._shared: dict[str, _Shared] = {}
        self._lock = threading.Lock()
        self.translators = Translators(settings, lambda: self._models().shelf, self._told)

    @property
    def names(self) -> tuple[str, ...]:
        """The models that requests may name, the default one first."""
        return self._settings.model_names

    def encoder(self, name: str | None = None) -> Encoder:
        """The encoder ``name``, loaded if it is not there yet: for use in :meth:`run`.

        What requests compute with it goes through the model together.

        :param name: ``None`` for the default one.
        :raises UnknownNameError: if the settings do not allow it.
        :raises ModelNotFoundError: if it is not on this machine.
        """
        name = self.names[0] if name is None else name
        if name not in self.names:
            raise UnknownNameError(choose_from("model", name[:SHOWN], self.names))
        settings = self._settings
        own = self._models().encoder(name, dtype=settings.dtype, device=settings.device)
        with self._lock:
            old = self._shared.get(name)
            if old is not None and old.own is own:
                return old.encoder
            new = self._shared[name] = self._share(own)
        if old is not None:  # the registry let it go and has loaded it again
            old.gatherer.close()
        return new.encoder

    def _let_go(self, model: object) -> None:
        """The shelf has let a model go, to make room: let go of it here, too."""
        with self._lock:
            names = [name for name, shared in self._shared.items() if shared.own is model]
            gone = [self._shared.pop(name) for name in names]
        for one in gone:
            one.gatherer.close()

    def release(self, name: str) -> bool:
        """Let go of the model ``name``; whether it was in memory.

        What is being computed with it is finished first; who asks for it again loads it again.
        """
        with self._lock:
            shared = self._shared.pop(name, None)
        if shared is not None:
            shared.gatherer.close()
        return bool(self._models().evict(name))

    def loaded(self) -> list[LoadedModel]:
        """What is in memory now."""
        return self._registry.loaded() if self._registry is not None else []

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``function`` in a thread, for the request of this context.

        As many at once as the settings say; others wait. If the client hangs up, ``function`` is
        not called, or cannot compute anything with a model any more.

        :raises OverloadedError: if too many wait already.
        :raises HungUpError: if the client hung up.
        """
        visit = self.admission.enter(await body_size())
        outcome = FAILED

        def call() -> T:
            self.admission.start(visit)
            return function(*args, **kwargs)

        try:
            async with heeding_disconnect():
                answer = await anyio.to_thread.run_sync(call, limiter=self._limiter)
            outcome = DONE
            return answer
        except HungUpError:
            outcome = GONE
            raise
        finally:
            self.admission.leave(visit, outcome)

    async def close(self) -> None:
        """Wait for the requests that were admitted, and end the threads of the models."""
        await self.admission.empty()
        with self._lock:
            shared = list(self._shared.values())
            self._shared.clear()
        for one in shared:
            await anyio.to_thread.run_sync(one.gatherer.close)

    def _share(self, own: Encoder) -> _Shared:
        from encoders.gathering.gatherer import Gatherer
        from encoders.precision import INT8

        settings = self._settings
        cores = settings.cores or available_cores()
        # OpenVINO and GPUs share out one batch themselves.
        one = own.dtype == INT8 or own.device != "cpu"
        gatherer = Gatherer(
            own, workers=1 if one else cores, most=settings.batch_pieces, told=self._told
        )
        return _Shared(own, gatherer, gatherer.encoder())

    def _models(self) -> ModelRegistry:
        with self._lock:
            if self._registry is None:
                from encoders.registry import ModelRegistry, default_registry

                limit = self._settings.max_model_bytes
                self._registry = ModelRegistry(memory_limit=limit) if limit else default_registry()
            shelf = self._registry.shelf
            if shelf.memory_limit is not None and self._let_go not in shelf.let_go:
                shelf.let_go.append(self._let_go)
        return self._registry
