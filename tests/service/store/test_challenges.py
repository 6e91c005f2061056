"""Challenges are redeemed once, by whom they were given, in time; and no copy of a store brings one back."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from matchka.errors import ChallengeNotRedeemableError, TooManyChallengesError, UnknownSubjectError
from matchka.store.challenges import REMEMBERED, Challenge, ChallengeLimits, Challenges
from matchka.store.engine import open_engine, reading
from matchka.store.sqlite.backup import MANIFEST_NAME, copy_database, write_backup
from matchka.store.sqlite.restore import RestorePlan, restore
from matchka.store.sqlite.staging import DATABASE_NAME
from matchka.store.store import Store, opened_store
from matchka.store.transfer.archive import new_archive
from matchka.store.transfer.exporter import write_export
from tests.factories.checkout import ROOT
from tests.factories.unit_vectors import unit_vectors

WORDS = ("apple", "banana", "cherry", "damson")
PEOPLE = ("ada", "ben")


def same(_earlier: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return WORDS


def nothing(*_done: int) -> None:
    """Progress that nobody watches."""


def ask(
    challenges: Challenges, subject: str = "ada", lifetime_s: float = 60.0, most: int = 1000, most_open: int = 1000
) -> Challenge:
    return challenges.issue("t", subject, "phrase", ChallengeLimits(lifetime_s, most_open, most), same)


def redeem(challenges: Challenges, challenge_id: str, subject: str = "ada", tenant: str = "t") -> tuple[str, ...]:
    return challenges.redeem(tenant, subject, challenge_id, "phrase")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "matchka.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    path.parent.mkdir()
    with opened_store(f"sqlite:///{path}") as opened:
        for seed, person in enumerate(PEOPLE):
            opened.add_templates("t", person, "voice", "1", unit_vectors(2, seed, dim=6))
        yield opened


def rows(path: Path, query: str = "SELECT count(*) FROM challenges") -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as connection:
        return connection.execute(query).fetchall()


def age(path: Path, which: str = "true") -> None:
    """As if two hours had gone since some were given."""
    rows(path, "UPDATE challenges SET issued_at = datetime(issued_at, '-2 hours') WHERE " + which)


def test_redeem_of_a_new_challenge_returns_its_content_once(store: Store):
    given = ask(store.challenges)
    assert redeem(store.challenges, given.challenge_id) == given.content == WORDS
    with pytest.raises(ChallengeNotRedeemableError):
        redeem(store.challenges, given.challenge_id)


def test_redeem_by_a_thousand_at_once_succeeds_for_exactly_one(store: Store):
    given = ask(store.challenges)

    def succeeds(_number: int) -> bool:
        try:
            return redeem(store.challenges, given.challenge_id) == WORDS
        except ChallengeNotRedeemableError:
            return False

    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(succeeds, range(1000))) == 1


@pytest.mark.parametrize(
    ("subject", "tenant", "kind"), [("ben", "t", "phrase"), ("ada", "u", "phrase"), ("ada", "t", "head_turn")]
)
def test_redeem_by_somebody_else_or_of_another_kind_is_refused_and_leaves_it_usable(
    store: Store, subject: str, tenant: str, kind: str
):
    given = ask(store.challenges)
    with pytest.raises(ChallengeNotRedeemableError):
        store.challenges.redeem(tenant, subject, given.challenge_id, kind)
    assert redeem(store.challenges, given.challenge_id) == WORDS


def test_redeem_of_unknown_expired_used_and_foreign_challenges_says_the_same(store: Store):
    used, foreign, expired = ask(store.challenges), ask(store.challenges, "ben"), ask(store.challenges, lifetime_s=-1.0)
    redeem(store.challenges, used.challenge_id)
    said = set()
    for one in (used.challenge_id, foreign.challenge_id, expired.challenge_id, "0" * 32, "", "\0", "x" * 10_000):
        with pytest.raises(ChallengeNotRedeemableError) as refused:
            redeem(store.challenges, one)
        said.add((refused.value.detail, refused.value.value, refused.value.remedy))
    assert len(said) == 1


def test_issue_for_an_unknown_subject_is_refused(store: Store):
    with pytest.raises(UnknownSubjectError):
        ask(store.challenges, "eve")


def test_issue_beyond_what_may_be_redeemed_is_refused_until_the_oldest_was_an_hour_ago(store: Store, path: Path):
    for _ in range(3):
        redeem(store.challenges, ask(store.challenges, most=3).challenge_id)
    with pytest.raises(TooManyChallengesError) as refused:
        ask(store.challenges, most=3)
    assert 3500 < refused.value.retry_after_s <= 3600
    ask(store.challenges, "ben", most=3)
    with sqlite3.connect(path) as connection:  # as if an hour had gone
        connection.execute("UPDATE challenges SET used_at = datetime(used_at, '-1 hour') WHERE number = 1")
    ask(store.challenges, most=3)


def test_issue_beyond_what_may_be_open_is_refused_until_one_is_redeemed_or_expires(store: Store):
    first = ask(store.challenges, most_open=2)
    ask(store.challenges, lifetime_s=30.0, most_open=2)
    with pytest.raises(TooManyChallengesError) as refused:
        ask(store.challenges, most_open=2)
    assert (refused.value.value, 25 < refused.value.retry_after_s <= 30) == ("2", True)
    redeem(store.challenges, first.challenge_id)
    ask(store.challenges, most_open=2)


def test_issue_counts_what_expired_unredeemed_only_among_the_issued_of_an_hour(store: Store, path: Path):
    for _ in range(6):  # three for each that may be redeemed
        ask(store.challenges, lifetime_s=-1.0, most=2, most_open=1)
    with pytest.raises(TooManyChallengesError, match="be given 6 challenges") as refused:
        ask(store.challenges, most=2, most_open=1)
    assert (refused.value.value, 3500 < refused.value.retry_after_s <= 3600) == ("6", True)
    ask(store.challenges, "ben", most=2, most_open=1)
    age(path, "number = 1")
    ask(store.challenges, most=2, most_open=1)


def test_issue_keeps_what_a_limit_counts_however_much_is_asked(store: Store, path: Path):
    used = ask(store.challenges)
    redeem(store.challenges, used.challenge_id)
    opened = ask(store.challenges)
    for _ in range(REMEMBERED + 5):
        ask(store.challenges, lifetime_s=-1.0)
    assert rows(path) == [(REMEMBERED + 7,)]  # all within an hour
    age(path)
    ask(store.challenges, lifetime_s=-1.0)
    assert rows(path) == [(REMEMBERED + 3,)]  # one more than remembered, because the new one was not there
    assert redeem(store.challenges, opened.challenge_id) == WORDS
    with pytest.raises(TooManyChallengesError):
        ask(store.challenges, most=2)


def test_issue_by_many_at_once_keeps_the_rate(store: Store, path: Path):
    def is_given(_number: int) -> bool:
        try:
            ask(store.challenges, most=5)
        except TooManyChallengesError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(is_given, range(20))) == 5
    assert rows(path) == [(5,)]


def test_calls_that_will_be_refused_wait_for_nobody_who_writes(store: Store, path: Path):
    ask(store.challenges, most=1)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")  # they would fail after the time that a writer waits
        with pytest.raises(TooManyChallengesError):
            ask(store.challenges, most=1)
        with pytest.raises(ChallengeNotRedeemableError):
            redeem(store.challenges, "no id of ours")
        writer.execute("ROLLBACK")


def test_issue_chooses_beside_the_last_fifty_and_keeps_no_more(store: Store, path: Path):
    seen: list[Sequence[tuple[str, ...]]] = []

    def choose(earlier: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
        seen.append(earlier)
        return (f"word{len(seen)}",)

    for _ in range(REMEMBERED + 5):
        store.challenges.issue("t", "ada", "phrase", ChallengeLimits(60.0, 1, 1), choose)
        with sqlite3.connect(path) as connection:  # as if two hours had gone
            connection.execute("UPDATE challenges SET expires_at = datetime(expires_at, '-2 hours')")
        age(path)
    assert list(seen[3]) == [("word3",), ("word2",), ("word1",)]
    assert list(seen[-1]) == [(f"word{number}",) for number in range(REMEMBERED + 4, 4, -1)]
    assert rows(path) == [(REMEMBERED + 1,)]


def test_issue_of_one_kind_leaves_what_another_remembers(store: Store, path: Path):
    seen: list[tuple[str, ...]] = []

    def choose(earlier: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
        seen.extend(earlier)
        return ("other",)

    limits = ChallengeLimits(-1.0, 1, 1)
    store.challenges.issue("t", "ada", "phrase", limits, same)
    for _ in range(REMEMBERED + 5):
        age(path)
        store.challenges.issue("t", "ada", "head_turn", limits, lambda _earlier: ("left",))
    age(path)
    store.challenges.issue("t", "ada", "phrase", limits, choose)
    assert seen == [WORDS]
    by_kind = "SELECT kind, count(*) FROM challenges GROUP BY kind ORDER BY kind"
    assert rows(path, by_kind) == [("head_turn", REMEMBERED + 1), ("phrase", 2)]


def test_delete_of_a_subject_takes_its_challenges_along(store: Store, path: Path):
    ask(store.challenges)
    other = ask(store.challenges, "ben")
    store.delete_subject("t", "ada")
    assert rows(path, "SELECT challenge_id FROM challenges") == [(other.challenge_id,)]
    for template in store.subject("t", "ben").templates:
        store.delete_template("t", template.template_id)
    assert rows(path) == [(0,)]


def test_backup_and_restore_leave_no_challenge_and_no_byte_of_one(store: Store, path: Path, tmp_path: Path):
    given = ask(store.challenges)
    write_backup(path, tmp_path / "b.matchka-backup", nothing)
    content = (tmp_path / "b.matchka-backup").read_bytes()  # the archive is not compressed
    assert given.challenge_id.encode() not in content
    assert b"banana" not in content
    assert redeem(store.challenges, given.challenge_id) == WORDS  # it is the copy's that went
    restored = tmp_path / "restored.sqlite"
    restore(RestorePlan(tmp_path / "b.matchka-backup", restored), nothing, nothing)
    assert rows(restored) == [(0,)]


def test_restore_of_a_copy_that_still_has_challenges_removes_them(store: Store, path: Path, tmp_path: Path):
    ask(store.challenges)
    manifest = write_backup(path, tmp_path / "b.matchka-backup", nothing)
    with new_archive(tmp_path / "older.matchka-backup") as (writer, staging):
        copy_database(path, staging / DATABASE_NAME, nothing)
        assert rows(staging / DATABASE_NAME) == [(1,)]
        writer.add_file(DATABASE_NAME, staging / DATABASE_NAME, nothing)
        writer.finish(MANIFEST_NAME, manifest.model_copy(update={"members": writer.members}))
    restored = tmp_path / "restored.sqlite"
    restore(RestorePlan(tmp_path / "older.matchka-backup", restored), nothing, nothing)
    assert rows(restored) == [(0,)]


def test_export_leaves_challenges_out(store: Store, path: Path, tmp_path: Path):
    given = ask(store.challenges)
    engine = open_engine(f"sqlite:///{path}")
    with reading(engine) as session:
        write_export(session, tmp_path / "e.matchka-export", "t", "voice", "1", nothing)
    engine.dispose()
    content = (tmp_path / "e.matchka-export").read_bytes()
    assert b"ada" in content
    assert given.challenge_id.encode() not in content
    assert b"banana" not in content


KILLED = """
import os, signal, sys
from matchka.store.store import Store
store = Store(sys.argv[1])
assert store.challenges.redeem("t", "ada", sys.argv[2], "phrase") == ("apple", "banana", "cherry", "damson")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_redeemed_challenge_stays_used_when_the_process_is_killed_at_once(store: Store, path: Path):
    given = ask(store.challenges)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, f"sqlite:///{path}", given.challenge_id],
        env={"PYTHONPATH": str(ROOT / "service")},
        check=False,
    )
    assert killed.returncode == -9
    with pytest.raises(ChallengeNotRedeemableError):
        redeem(store.challenges, given.challenge_id)
