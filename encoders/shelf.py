"""Shelf: models of any kind in memory, each loaded once and shared, within one budget."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar, cast

from bitext.errors import TooLargeError


class Sized(Protocol):
    """What can be held: something whose size is known."""

    @property
    def bytes(self) -> int:
        """Memory its weights take."""
        ...


M = TypeVar("M", bound=Sized)


class Shelf:
    """Models by key, in the order of their last use.

    Threads that ask for the same model at the same moment wait for one load and share its result.
    When the models together take more than ``memory_limit`` bytes once a new one is loaded, those
    used longest ago are let go; a caller that still holds one keeps it until it is done.
    """

    def __init__(self, *, memory_limit: int | None = None) -> None:
        self.memory_limit = memory_limit
        self.let_go: list[Callable[[Sized], None]] = []
        """Called with each model that made room for another: whoever holds it may let it go too."""
        self._held: dict[Hashable, Sized] = {}
        self._loading: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], M], name: str) -> M:
        """The model of ``key``, by ``load`` if it is not there yet.

        :param name: what an error calls it.
        :raises TooLargeError: if it alone takes more than the memory limit.
        """
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            held = self._use(key)
            if held is None:
                held = load()
                self._admit(key, held, name)
        return cast("M", held)

    def held(self) -> dict[Hashable, Sized]:
        """What is in memory now, the one used last at the end."""
        with self._lock:
            return dict(self._held)

    def remove(self, wanted: Callable[[Hashable], bool]) -> int:
        """Let go of the models whose keys are ``wanted``; the number of them."""
        with self._lock:
            keys = [key for key in self._held if wanted(key)]
            for key in keys:
                del self._held[key]
        return len(keys)

    def _use(self, key: Hashable) -> Sized | None:
        with self._lock:
            held = self._held.pop(key, None)
            if held is not None:
                self._held[key] = held
        return held

    def _admit(self, key: Hashable, model: Sized, name: str) -> None:
        limit = self.memory_limit
        if limit is not None and model.bytes > limit:
            raise TooLargeError(
                f"model '{name}' takes {model.bytes} bytes, more than the limit of {limit}"
            )
        gone = []
        with self._lock:
            taken = model.bytes + sum(held.bytes for held in self._held.values())
            for old in list(self._held):
                if limit is None or taken <= limit:
                    break
                gone.append(self._held.pop(old))
                taken -= gone[-1].bytes
            self._held[key] = model
        for listener in self.let_go:
            for one in gone:
                listener(one)
