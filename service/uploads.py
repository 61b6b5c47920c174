"""Files that were sent for jobs: streamed to the disk, whole or not there."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread
from fastapi import HTTPException
from sqlalchemy import delete, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.requests import ClientDisconnect

from bitext.errors import InputError, MismatchError, TooLargeError
from bitext.text import sync_folder
from service.database.engine import Database
from service.database.tables import now
from service.errors import UnknownUploadError
from service.indexes import make_folder
from service.jobs.tables import ENDED, InputRow, JobRow, UploadRow
from service.jobs.work import link_name
from service.settings import Settings
from service.unpacking import PACKED, unpacked_bytes

P = ParamSpec("P")
T = TypeVar("T")

PIECE = 1 << 20
"""Bytes that are written at once."""
FEW = 4
"""Threads that write what comes."""
UNPACKED = 2
"""Uploads that are unpacked at the same time, which may take minutes, to see how much they hold."""
LEFT = ".part"
"""How names of files end that are not whole."""
OLD = 24 * 3600.0
"""Seconds after which what was left by somebody who died is removed."""


class Uploads:
    """Files by id; ``receive`` is for the event loop, all else for threads."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._folder = settings.uploads
        self._database = database
        self._most = settings.max_upload_bytes
        self._most_of_all = settings.max_uploads_bytes
        self._coming = 0  # bytes of uploads that are being received
        self._few = anyio.CapacityLimiter(FEW)
        self._unpacking = anyio.CapacityLimiter(UNPACKED)
        self._keeping = threading.Lock()

    async def receive(self, stream: AsyncIterator[bytes], name: str) -> UploadRow:
        """Write what comes to a file of its own.

        :raises TooLargeError: if it is more than may come, as soon as it is.
        :raises InputError: if nothing comes, or what comes is not packed as its name says.
        """
        kept = await self._aside(self._kept)
        id = secrets.token_hex(8)
        part = _Part(self._folder / f".{id}{LEFT}")
        pending: list[bytes] = []
        counted = waiting = 0
        try:
            async for piece in stream:
                counted += len(piece)
                self._coming += len(piece)
                self._check(counted, kept)
                pending.append(piece)
                waiting += len(piece)
                if waiting >= PIECE:
                    await self._aside(part.write, b"".join(pending))
                    pending.clear()
                    waiting = 0
            await self._aside(part.write, b"".join(pending))
            if not counted:
                raise InputError("the upload is empty")
            await anyio.to_thread.run_sync(self._check_packed, name, part, limiter=self._unpacking)
            return await self._aside(self._keep, id, name, part)
        except ClientDisconnect:
            raise HTTPException(400, "the upload ended before it was whole") from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise HTTPException(507, "the disk of the service is full") from error
        finally:
            self._coming -= counted
            part.drop()

    def get(self, id: str) -> UploadRow:
        """:raises UnknownUploadError: if there is none of that id."""
        with self._database.read() as session:
            row = session.get(UploadRow, id)
        if row is None:
            raise UnknownUploadError(f"there is no upload '{id[:80]}'")
        return row

    def find(self, id: str) -> UploadRow | None:
        with suppress(UnknownUploadError):
            return self.get(id)
        return None

    def all(self) -> Sequence[UploadRow]:
        """The latest first."""
        with self._database.read() as session:
            return session.scalars(select(UploadRow).order_by(UploadRow.created.desc())).all()

    def delete(self, id: str) -> None:
        """Remove an upload.

        :raises MismatchError: if a job that waits or runs reads it.
        """
        with self._database.write() as session:
            reading = (
                select(JobRow.id)
                .join(InputRow, InputRow.job == JobRow.id)
                .where(InputRow.upload == id, JobRow.state.not_in(ENDED))
            )
            if (job := session.scalar(reading)) is not None:
                raise MismatchError(f"job {job} reads upload {id}; cancel it first")
            session.execute(delete(InputRow).where(InputRow.upload == id))
            gone = delete(UploadRow).where(UploadRow.id == id).returning(UploadRow.id)
            if session.scalar(gone) is None:
                raise UnknownUploadError(f"there is no upload '{id[:80]}'")
        (self._folder / id).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove the files of those who died while they wrote or removed one."""
        if not self._folder.is_dir():
            return
        known = {row.id for row in self.all()}
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                if path.name not in known and time.time() - path.stat().st_mtime > OLD:
                    path.unlink()

    # ---

    async def _aside(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``function`` in a thread, of which uploads have a few of their own."""
        return await anyio.to_thread.run_sync(partial(function, *args, **kwargs), limiter=self._few)

    def _kept(self) -> int:
        make_folder(self._folder)
        with self._database.read() as session:
            return _total(session)

    def _check(self, counted: int, kept: int) -> None:
        if counted > self._most:
            raise TooLargeError(
                f"the upload has more than the {self._most} bytes that one may have "
                "(BITEXT_MAX_UPLOAD_BYTES)"
            )
        self._check_all(kept + self._coming)

    def _check_all(self, bytes: int) -> None:
        if bytes > self._most_of_all:
            raise TooLargeError(
                f"all uploads together may have {self._most_of_all} bytes "
                "(BITEXT_MAX_UPLOADS_BYTES); remove some"
            )

    def _keep(self, id: str, name: str, part: _Part) -> UploadRow:
        row = UploadRow(
            id=id, name=name, bytes=part.bytes, sha256=part.digest.hexdigest(), created=now()
        )
        part.sync()
        target = self._folder / id
        try:
            with self._keeping, self._database.write() as session:
                # Others may have been kept since this one began.
                self._check_all(_total(session) + part.bytes)
                session.add(row)
                session.flush()
                part.rename(target)
        except SQLAlchemyError:
            with suppress(SQLAlchemyError):  # else tidy will see to it
                if self.find(id) is None:
                    target.unlink(missing_ok=True)
            raise
        return row

    def _check_packed(self, name: str, part: _Part) -> None:
        ending = Path(link_name(name)).suffix
        if ending in PACKED and unpacked_bytes(part.path, ending, self._most) > self._most:
            raise TooLargeError(
                f"the upload holds more, unpacked, than the {self._most} bytes that one may have "
                "(BITEXT_MAX_UPLOAD_BYTES)"
            )


def _total(session: Session) -> int:
    return int(session.scalar(select(func.coalesce(func.sum(UploadRow.bytes), 0))) or 0)


class _Part:
    """A file that is being written."""

    def __init__(self, path: Path) -> None:
        self.bytes = 0
        self.digest = hashlib.sha256()
        self.path = path
        self._file = -1

    def write(self, data: bytes) -> None:
        if self._file < 0:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self.digest.update(data)
        self.bytes += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def sync(self) -> None:
        """Return once it is on the disk."""
        os.fsync(self._file)

    def rename(self, target: Path) -> None:
        """Give it its name."""
        self.path.rename(target)
        sync_folder(target.parent)

    def drop(self) -> None:
        """Close it; remove it, unless it has another name by now."""
        if self._file >= 0:
            os.close(self._file)
            self.path.unlink(missing_ok=True)
