"""API keys in the database: made, listed, revoked and rotated, of each tenant its own."""

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from matchka.errors import InvalidFieldError, MissingScopeError, UnknownKeyError
from matchka.store.keys.keys import Keys
from matchka.store.keys.records import Ceilings, KeySpec
from matchka.store.keys.scopes import Scope, missing_scope, read_scopes, write_scopes
from matchka.store.schema import AttemptRow
from matchka.store.store import opened_store
from tests.factories.databases import FileUnderTest, UnderTest

CEILINGS = Ceilings(0.01, 0.05, 2.5, 100, 4)


@pytest.fixture
def keys(database: UnderTest) -> Iterator[Keys]:
    with opened_store(database.url) as store:
        yield store.keys


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def test_key_that_was_made_is_listed_as_it_was_asked_for(keys: Keys):
    made = keys.create(KeySpec("door 1", "a", frozenset({Scope.VERIFY, Scope.SCORES}), CEILINGS, timedelta(days=2)))
    assert keys.list_keys() == [made.key]
    key = made.key
    assert (key.name, key.tenant, key.scopes) == ("door 1", "a", {Scope.VERIFY, Scope.SCORES})
    assert key.ceilings == CEILINGS
    assert key.expires_at - key.created_at == timedelta(days=2)
    assert (key.revoked_at, key.replaced_by, key.last_used_at) == (None, None, None)


def test_key_by_default_may_enrol_verify_and_identify_at_the_default_rates(keys: Keys):
    key = keys.create(KeySpec("door")).key
    assert key.tenant == "default"
    assert write_scopes(key.scopes) == "enroll verify identify"
    assert key.ceilings == Ceilings(max_fmr=0.001, max_fpir=0.01)
    assert key.expires_at is None


def test_secret_has_256_random_bits_behind_its_id_and_is_nowhere_in_the_files(tmp_path: Path):
    with opened_store(f"sqlite:///{tmp_path / 'keys.sqlite'}") as store:
        require_secrets_to_be_in_no_file(store.keys, tmp_path)


def require_secrets_to_be_in_no_file(keys: Keys, folder: Path) -> None:
    first, second = (keys.create(KeySpec("door")) for _ in range(2))
    for made in (first, second):
        begin, key_id, random = made.secret.split("_")
        assert (begin, key_id) == ("mk", made.key.key_id)
        assert len(bytes.fromhex(random)) == 32
        written = b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
        assert random.encode() not in written
        assert digest(made.secret).encode() in written
    assert first.secret[-64:] != second.secret[-64:]


def test_read_after_a_change_has_all_keys_that_are_not_revoked_by_digest(keys: Keys):
    assert (keys.read().revision, keys.read().keys) == (0, {})
    kept, gone = keys.create(KeySpec("kept")), keys.create(KeySpec("gone"))
    before = keys.read()
    assert before.keys == {digest(made.secret): made.key for made in (kept, gone)}
    assert keys.read(before.revision).keys is None
    keys.note_used([kept.key.key_id])
    assert keys.read(before.revision).keys is None  # a use is no change
    keys.revoke(gone.key.key_id)
    after = keys.read(before.revision)
    assert after.keys is not None
    assert list(after.keys) == [digest(kept.secret)]
    assert after.keys[digest(kept.secret)].last_used_at is not None


def test_revoked_key_stays_listed_and_revoking_again_changes_nothing(keys: Keys):
    key_id = keys.create(KeySpec("door")).key.key_id
    revoked = keys.revoke(key_id)
    assert revoked.revoked_at is not None
    revision = keys.read().revision
    time.sleep(0.002)
    assert keys.revoke(key_id) == revoked
    assert keys.list_keys() == [revoked]
    assert keys.read().revision == revision


@pytest.mark.parametrize("overlap", [timedelta(0), timedelta(hours=1)])
def test_rotation_carries_over_what_failed_with_the_old_key(keys: Keys, overlap: timedelta):
    old, other = keys.create(KeySpec("door")).key, keys.create(KeySpec("other")).key
    when = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    with Session(keys._engine) as session, session.begin():
        for key, subject_key, blocked_until in ((old, 7, when), (old, 0, None), (other, 7, None)):
            session.add(
                AttemptRow(
                    key_id=key.key_id,
                    subject_key=subject_key,
                    level=29.5,
                    strikes=3,
                    updated_at=when,
                    blocked_until=blocked_until,
                )
            )
    new = keys.rotate(old.key_id, overlap).key
    with Session(keys._engine) as session:
        rows = session.scalars(select(AttemptRow).where(AttemptRow.key_id == new.key_id)).all()
        found = {row.subject_key: (row.level, row.strikes, row.updated_at, row.blocked_until) for row in rows}
        assert found == {7: (29.5, 3, when, when), 0: (29.5, 3, when, None)}


def test_rotation_makes_a_key_of_the_same_rights_and_ends_the_old(keys: Keys):
    old = keys.create(KeySpec("door", "a", frozenset({Scope.EMBED}), CEILINGS, timedelta(days=1)))
    new = keys.rotate(old.key.key_id)
    assert new.secret != old.secret
    same = ("name", "tenant", "scopes", "ceilings", "expires_at")
    assert [getattr(new.key, name) for name in same] == [getattr(old.key, name) for name in same]
    ended = next(key for key in keys.list_keys() if key.key_id == old.key.key_id)
    assert (ended.revoked_at is not None, ended.replaced_by) == (True, new.key.key_id)
    snapshot = keys.read()
    assert snapshot.keys is not None
    assert set(snapshot.keys) == {digest(new.secret)}


@pytest.mark.parametrize(("lifetime_s", "expected_s"), [(None, 60.0), (3600.0, 60.0), (30.0, 30.0)])
def test_rotation_with_an_overlap_lets_the_old_key_expire_and_never_later_than_it_would_have(
    keys: Keys, lifetime_s: float | None, expected_s: float
):
    lifetime = None if lifetime_s is None else timedelta(seconds=lifetime_s)
    old = keys.create(KeySpec("door", lifetime=lifetime))
    keys.rotate(old.key.key_id, timedelta(seconds=60))
    snapshot = keys.read()
    assert snapshot.keys is not None
    key = snapshot.keys[digest(old.secret)]
    assert key.is_in_force(snapshot.read_at)
    assert (key.expires_at - old.key.created_at).total_seconds() == pytest.approx(expected_s, abs=5)
    with pytest.raises(UnknownKeyError):
        keys.rotate(old.key.key_id)  # it has a successor


def test_of_many_rotations_at_once_one_succeeds(keys: Keys):
    old = keys.create(KeySpec("door")).key.key_id

    def rotate(_: int) -> bool:
        try:
            keys.rotate(old, timedelta(seconds=60))
        except UnknownKeyError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(rotate, range(16))) == 1
    assert len(keys.list_keys()) == 2


def test_expired_key_is_not_in_force_and_cannot_be_rotated(keys: Keys):
    made = keys.create(KeySpec("door", lifetime=timedelta(milliseconds=5)))
    time.sleep(0.01)
    assert not made.key.is_in_force(keys.read().read_at)
    with pytest.raises(UnknownKeyError):
        keys.rotate(made.key.key_id)


@pytest.mark.parametrize("key_id", ["0" * 12, "", "x", "\0", "0" * 11 + "\n"])
def test_key_that_is_not_there_cannot_be_revoked_or_rotated(keys: Keys, key_id: str):
    for change in (keys.revoke, keys.rotate):
        with pytest.raises(UnknownKeyError) as refused:
            change(key_id)
        assert refused.value.value == key_id


def test_key_of_another_tenant_is_not_listed_revoked_or_rotated(keys: Keys):
    made = keys.create(KeySpec("door", "a"))
    assert keys.list_keys("b") == []
    with pytest.raises(UnknownKeyError):
        keys.revoke(made.key.key_id, "b")
    with pytest.raises(UnknownKeyError):
        keys.rotate(made.key.key_id, tenant="b")
    assert keys.list_keys("a") == [made.key]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a\n"},
        {"name": "x" * 65},
        {"name": "a", "tenant": "../a"},
        {"name": "a", "lifetime": timedelta(0)},
        {"name": "a", "lifetime": timedelta(days=40000)},
    ],
)
def test_key_of_an_impossible_name_tenant_or_lifetime_is_refused(wrong: dict[str, object]):
    with pytest.raises(InvalidFieldError):
        KeySpec(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((rate, value) for rate in ("max_fmr", "max_fpir") for value in (0.0, -0.1, 1.01, float("nan"))),
        *(("requests_per_s", value) for value in (0.0, -1.0, float("inf"), float("nan"))),
        *((quota, value) for quota in ("max_subjects", "max_templates") for value in (0, -1, 2**31)),
    ],
)
def test_ceiling_out_of_range_is_refused_with_its_value(name: str, value: float):
    with pytest.raises(InvalidFieldError) as refused:
        Ceilings(**{name: value})  # type: ignore[arg-type]
    assert refused.value.value == str(value)
    assert name in refused.value.detail


@pytest.mark.parametrize("text", ["", " ,", "verify everything", "Verify", "scores;verify", "verify all"])
def test_scopes_that_there_are_not_are_refused(text: str):
    with pytest.raises(InvalidFieldError, match=r"subjects\.read"):
        read_scopes(text)


def test_refusal_for_want_of_a_scope_names_it():
    refused = missing_scope(Scope.SUBJECTS_READ)
    assert isinstance(refused, MissingScopeError)
    assert refused.value == "subjects.read"


@pytest.mark.parametrize("change", ["name = CAST(x'ff41' AS TEXT)", "scopes = 'enroll fly'", "created_at = 'never'"])
def test_row_that_cannot_be_read_opens_nothing_and_keeps_no_other_key_from_ending(tmp_path: Path, change: str):
    database = FileUnderTest(tmp_path / "keys.sqlite")  # where a column takes whatever it is given
    with opened_store(database.url) as store:
        spoilt, revoked, kept = (store.keys.create(KeySpec("door")) for _ in range(3))
        store.keys.revoke(revoked.key.key_id)
        database.change(f"UPDATE api_keys SET {change} WHERE key_id = '{spoilt.key.key_id}'")
        assert store.keys.read().keys == {digest(kept.secret): kept.key}
