"""Keys: how they are spelt, kept, found, made and revoked by command."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import anyio
import pytest

from bitext.errors import InputError, UnknownNameError
from service.access.keys import FRESH, LAST, Key, KeyRing
from service.access.scopes import GIVEN, Scope
from service.access.spelling import KEY, digest_of, new_key, read_key
from service.access.storing import all_keys, make_key, revoke_key
from service.database.engine import Database, database_of
from service.errors import DatabaseError
from service.settings import Settings

# --- how they are spelt


def test_a_key_has_an_id_and_a_secret_of_256_bits() -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    for text in made:
        start, id, secret = text.split("_")
        assert start == "bt"
        assert len(bytes.fromhex(id)) == 4
        assert len(bytes.fromhex(secret)) == 32


def test_a_key_is_known_by_its_sha_256() -> None:
    text = f"bt_{'0' * 8}_{'a' * 64}"
    spelt = read_key(text)
    assert spelt is not None
    assert spelt.id == "00000000"
    assert spelt.digest == hashlib.sha256(text.encode()).digest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bt_",
        "secret",
        f"bt_{'0' * 8}_{'a' * 63}",
        f"bt_{'0' * 8}_{'a' * 65}",
        f"bt_{'0' * 8}_{'A' * 64}",
        f"bt_{'0' * 8}_{'a' * 64}\n",
        f"xx_{'0' * 8}_{'a' * 64}",
        f"bt_{'0' * 8}_{'١' * 64}",  # digits, but not ours
    ],
)
def test_what_is_no_key_is_not_read(text: str) -> None:
    assert read_key(text) is None


# --- what they may do


def test_a_scope_includes_those_before_it() -> None:
    assert [scope.value for scope in GIVEN] == ["metrics", "read", "write", "train"]
    assert Scope.TRAIN.includes(Scope.WRITE)
    assert Scope.WRITE.includes(Scope.READ)
    assert Scope.READ.includes(Scope.METRICS)
    assert Scope.READ.includes(Scope.READ)
    assert not Scope.METRICS.includes(Scope.READ)
    assert not Scope.READ.includes(Scope.WRITE)
    assert not Scope.WRITE.includes(Scope.TRAIN)


# --- how they are kept


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return database_of(Settings(data_dir=tmp_path))


def test_a_key_is_kept_without_its_secret(database: Database, tmp_path: Path) -> None:
    text = make_key(database, "Ann", Scope.READ)
    (key,) = all_keys(database)
    assert (key.name, key.scope, key.revoked) == ("Ann", Scope.READ, None)
    assert key.digest == digest_of(text)
    secret = text.rsplit("_")[-1].encode()
    database.close()
    for file in tmp_path.iterdir():
        assert secret not in file.read_bytes()


def test_a_key_is_revoked_by_id_or_name_once_for_all(database: Database) -> None:
    make_key(database, "Ann", Scope.READ)
    make_key(database, "Bob", Scope.TRAIN)
    first, second = all_keys(database)
    done = revoke_key(database, first.id)
    assert revoke_key(database, first.id).revoked == done.revoked is not None
    assert revoke_key(database, "Bob").id == second.id
    with pytest.raises(UnknownNameError, match=r"^there is no key 'Bob'; `bitext keys list`"):
        revoke_key(database, "Bob")  # its name is free again
    make_key(database, "Bob", Scope.READ)


def test_a_name_is_given_once(database: Database) -> None:
    make_key(database, "Ann", Scope.READ)
    with pytest.raises(InputError, match=r"^there is a key 'Ann'; revoke it first"):
        make_key(database, "Ann", Scope.READ)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201])
def test_a_name_can_be_printed(database: Database, name: str) -> None:
    with pytest.raises(InputError, match="^the name of a key has 1 to 200 characters"):
        make_key(database, name, Scope.READ)


# --- how they are found


class Store:
    """Keys that somebody else changes, and the time."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.reads = 0
        self.time = 0.0
        self.broken = False

    def make(self, *, revoked: bool = False) -> str:
        text = new_key()
        spelt = read_key(text)
        assert spelt is not None
        moment = datetime(2026, 1, 1, tzinfo=timezone.utc)
        gone = moment if revoked else None
        self.keys.append(Key(spelt.id, "x", Scope.READ, spelt.digest, moment, gone))
        return text

    def load(self) -> list[Key]:
        self.reads += 1
        if self.broken:
            raise OSError("no database")
        return list(self.keys)

    def ring(self) -> KeyRing:
        return KeyRing(self.load, clock=lambda: self.time)


def find(ring: KeyRing, text: str) -> Key | None:
    return anyio.run(ring.find, text)


def test_a_good_key_is_found_and_a_wrong_one_is_not() -> None:
    store = Store()
    good, gone = store.make(), store.make(revoked=True)
    ring = store.ring()
    found = find(ring, good)
    assert found is not None
    assert found.id in good
    assert find(ring, gone) is None
    assert find(ring, new_key()) is None
    other = good[:-1] + ("0" if good[-1] != "0" else "1")
    assert find(ring, other) is None  # the id is known, the secret is not
    assert find(ring, "nonsense") is None


def test_requests_cost_no_query() -> None:
    store = Store()
    good = store.make()
    ring = store.ring()
    for _ in range(50):
        assert find(ring, good)
    assert store.reads == 1
    for _ in range(50):
        assert find(ring, new_key()) is None
    assert store.reads == 1
    store.time = 2.0
    for _ in range(50):
        assert find(ring, new_key()) is None
    assert store.reads == 2  # once a second, however many wrong ones come


def test_a_revoked_key_is_refused_within_seconds() -> None:
    store = Store()
    good = store.make()
    ring = store.ring()
    assert find(ring, good)
    store.keys.clear()
    store.time = FRESH
    assert find(ring, good)
    store.time = FRESH + 0.001
    assert find(ring, good) is None


def test_a_new_key_is_known_a_second_later() -> None:
    store = Store()
    ring = store.ring()
    assert find(ring, store.make()) is not None
    late = store.make()
    assert find(ring, late) is None
    store.time = 1.1
    assert find(ring, late) is not None


def test_keys_are_believed_for_a_minute_without_the_database() -> None:
    store = Store()
    good = store.make()
    ring = store.ring()
    assert find(ring, good)
    store.broken = True
    store.time = LAST
    assert find(ring, good)
    store.time = LAST + 2
    with pytest.raises(DatabaseError, match="^the database with the keys does not answer"):
        find(ring, good)
    reads = store.reads
    with pytest.raises(DatabaseError):
        find(ring, good)
    assert store.reads == reads  # it is not asked again at once
    store.broken = False
    store.time += 2
    assert find(ring, good)


def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By ``hmac.compare_digest``, also where the id is not known."""
    compared = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return a == b

    monkeypatch.setattr("service.access.keys.hmac.compare_digest", compare)
    store = Store()
    ring = store.ring()
    assert find(ring, store.make())
    assert find(ring, new_key()) is None
    assert compared == [(32, 32), (32, 32)]


# --- by command


def test_keys_by_command(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    where = ("--data-dir", tmp_path)
    code, text, err = call("keys", "make", "Ann's laptop", "--scope", "write", *where)
    assert (code, err) == (0, "")
    assert KEY.fullmatch(text.rstrip("\n"))
    id = text.split("_")[1]
    code, listed, _ = call("keys", "list", *where)
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(rf"{id}\twrite\t{moment}\t-\tAnn's laptop\n", listed)
    assert text.strip() not in listed
    assert call("keys", "revoke", id, *where) == (0, f"revoked {id} (Ann's laptop)\n", "")
    _, listed, _ = call("keys", "list", *where)
    assert re.fullmatch(rf"{id}\twrite\t{moment}\t{moment}\tAnn's laptop\n", listed)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("make", "x", "--scope", "all"),
            "bitext keys make: unknown scope 'all'; choose one of: metrics, read, train, write\n",
        ),
        (
            ("revoke", "nobody"),
            "bitext keys revoke: there is no key 'nobody'; `bitext keys list` shows them\n",
        ),
    ],
)
def test_a_mistake_is_told(
    call: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    assert call("keys", *arguments, "--data-dir", tmp_path) == (2, "", sentence)


def test_commands_know_all_scopes() -> None:
    from service.access.commands import SCOPES

    assert tuple(scope.value for scope in GIVEN) == SCOPES
