"""Who works in a data folder: service and workers together, or one who puts a backup back."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bitext.errors import BusyError, InputError


@contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Work in ``folder`` beside others; it is made if it is not there.

    :raises BusyError: if a backup is being put back.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {folder}: {error.strerror}") from error
    with _locked(folder, fcntl.LOCK_SH) as is_locked:
        if not is_locked:
            raise BusyError(f"a backup is being restored to {folder}; start again when it is done")
        yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Work in ``folder``, which is there, without anybody else.

    :raises BusyError: if somebody else is.
    """
    with _locked(folder, fcntl.LOCK_EX) as is_locked:
        if not is_locked:
            raise BusyError(f"a service or worker is using {folder}; stop it first")
        yield


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[bool]:
    """Lock a folder for as long as the block, or the process, lasts; whether nobody else has.

    A file system that cannot lock a folder (some of networks) leaves it to the operator.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass
        yield True
    finally:
        os.close(descriptor)
