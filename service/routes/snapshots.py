"""``/v1/indexes/{name}/snapshots``: keep copies of an index, and go back to one."""

from __future__ import annotations

from fastapi import Response

from service.access.scopes import Scope, needs
from service.openapi import problems
from service.reading import Router
from service.routes.indexes import info
from service.schemas.indexes import IndexInfo
from service.schemas.snapshots import SnapshotInfo, SnapshotList
from service.snapshots import Snapshot
from service.state import State, StateOf

router = Router(prefix="/indexes/{name}/snapshots", tags=["snapshots"])


@router.get("", summary="List snapshots", responses=problems(404, 409, 422))
@needs(Scope.READ)
def list_snapshots(name: str, state: StateOf) -> SnapshotList:
    """Those of an index, oldest first. They outlive it."""
    return SnapshotList(snapshots=[_info(one) for one in state.snapshots.of(name)])


@router.post(
    "",
    status_code=201,
    summary="Take a snapshot",
    responses=problems(403, 404, 409, 413, 422),
)
@needs(Scope.WRITE)
async def create_snapshot(name: str, state: StateOf, response: Response) -> SnapshotInfo:
    """Copy an index as it is now, while others read and write it."""
    made = await state.copying(state.snapshots.create, name)
    response.headers["Location"] = f"/v1/indexes/{name}/snapshots/{made.id}"
    return _info(made)


@router.delete(
    "/{snapshot}",
    status_code=204,
    response_model=None,
    summary="Remove a snapshot",
    responses=problems(404, 422),
)
@needs(Scope.WRITE)
async def delete_snapshot(name: str, snapshot: str, state: StateOf) -> None:
    """Remove a snapshot; the index stays as it is."""
    await state.copying(state.snapshots.delete, name, snapshot)


@router.post(
    "/{snapshot}/restore",
    summary="Go back to a snapshot",
    responses=problems(403, 404, 409, 413, 422),
)
@needs(Scope.WRITE)
async def restore_snapshot(name: str, snapshot: str, state: StateOf) -> IndexInfo:
    """Make an index what it was then, in one step, whether it is still there or not.

    A request that reads or writes the index at that moment is answered 409 and can be sent again.
    """
    return await state.copying(_restore, name, snapshot, state)


def _restore(name: str, snapshot: str, state: State) -> IndexInfo:
    state.snapshots.restore(name, snapshot)
    return info(name, state)


def _info(snapshot: Snapshot) -> SnapshotInfo:
    return SnapshotInfo(
        id=snapshot.id,
        index=snapshot.index,
        created=snapshot.created.isoformat(),
        count=snapshot.count,
        bytes=snapshot.bytes,
    )
