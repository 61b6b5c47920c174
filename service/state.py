"""What all requests share, and the warming-up that must end before the service is ready."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ParamSpec, TypeVar

import anyio
import anyio.to_thread
from fastapi import Depends, Request

from bitext.errors import BitextError
from service.batching.disconnects import REQUEST
from service.batching.events import Events
from service.database.engine import database_of
from service.draining import Draining
from service.errors import NotReadyError
from service.indexes import Indexes, make_folder
from service.jobs.service import Jobs
from service.models import Models
from service.samples import SAMPLE, keep_sample
from service.settings import Settings
from service.snapshots import Snapshots
from service.uploads import Uploads

if TYPE_CHECKING:
    from encoders.encoder import Encoder
    from encoders.registry import ModelRegistry
    from retrieval.store.text_index import TextIndex

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class State:
    """Settings, models and indexes, and whether the service is ready."""

    def __init__(self, settings: Settings, registry: ModelRegistry | None = None) -> None:
        self.settings = settings
        self.events = Events()
        self.models = Models(settings, registry, self.events)
        self.indexes = Indexes(settings)
        self.snapshots = Snapshots(settings, self.indexes)
        self.database = database_of(settings)
        self.uploads = Uploads(settings, self.database)
        self.jobs = Jobs(settings, self.database, self.uploads)
        self._copies = anyio.CapacityLimiter(1)
        self._aside = anyio.CapacityLimiter(4)
        self.draining = Draining()
        self.ready = False
        self.failure: Exception | None = None

    async def warm_up(self) -> None:
        """Load the model and see to the sample index, away from the event loop."""
        try:
            await anyio.to_thread.run_sync(self._warm_up, abandon_on_cancel=True)
        except BitextError as error:
            self.failure = error  # for /ready, and for whoever started the service
        except Exception as error:
            self.failure = error
            logger.exception("the start failed")
        else:
            self.ready = True
            logger.info("ready with model '%s'", self.settings.model)

    @property
    def is_loading(self) -> bool:
        return not self.ready and self.failure is None

    def check_ready(self) -> None:
        """:raises NotReadyError: saying why."""
        self.draining.check()
        if self.ready:
            return
        if self.is_loading:
            raise NotReadyError(f"model '{self.settings.model}' is being loaded")
        known = isinstance(self.failure, BitextError)
        raise NotReadyError(str(self.failure) if known else "the start failed; see the log")

    async def aside(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``function``, which computes nothing with a model, in a thread; a few at once."""
        call = functools.partial(function, *args, **kwargs)
        return await anyio.to_thread.run_sync(call, limiter=self._aside)

    async def copying(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``function``, which copies a whole index, in a thread; one at a time, others wait
        without holding a thread."""
        call = functools.partial(function, *args, **kwargs)
        return await anyio.to_thread.run_sync(call, limiter=self._copies)

    def encoder_of(self, index: TextIndex) -> Encoder:
        """The encoder that ``index`` was built with, for use in a thread.

        An index of a model that requests may not name is tried with the default one: under another
        name it may be the same, and if not, the index says so.
        """
        name = index.manifest.model
        return self.models.encoder(name if name in self.models.names else None)

    def _warm_up(self) -> None:
        from bitext.segmentation import segment

        self.database.open()
        self.uploads.tidy()
        encoder = self.models.encoder()
        # The first pass through a model and the first segmentation set much up; not for a request.
        encoder.words([[word.text for word in segment("Ready?")]])
        if self.settings.sample:
            make_folder(self.indexes.folder)
            keep_sample(self.indexes.folder / SAMPLE, encoder)


async def _state(request: Request) -> State:
    REQUEST.set(request)  # whose client may hang up; see Models.run
    state: State = request.app.state.service
    return state


StateOf = Annotated[State, Depends(_state)]
"""What a route declares to be given the state."""
