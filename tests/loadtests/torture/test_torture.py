"""The torture finds what it is there to find: each broken promise, put before it by hand."""

import asyncio
import json
import random
import subprocess
import sys
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loadtests.client import load
from loadtests.client.caller import Answer, Caller
from loadtests.server import ServerFailedError, free_port, start_server
from loadtests.torture.chips import ChipPool, draw_chips, embed_chips
from loadtests.torture.journal import Journal, Sight
from loadtests.torture.traffic import compare_ranking
from tests.factories.checkout import ROOT
from tests.factories.pictures import encoded
from tests.factories.server_process import RunningServer

RNG = random.Random(1)


@pytest.fixture
def journal() -> Journal:
    """`ada` holds the templates a and b; `bob` and `eve` nothing."""
    journal = Journal(["ada", "bob", "eve"], 20)
    journal.begin_enroll("ada", 2, RNG)
    journal.acknowledge("ada", ["a", "b"])
    return journal


def names(journal: Journal) -> set[frozenset[int]]:
    return set(journal.absent().values())


def test_settle_of_a_quiet_subject_finds_a_lost_and_a_foreign_template(journal: Journal):
    assert journal.settle("ada", ["b", "a"]) is None
    assert "1 templates lost, 0 foreign" in str(journal.settle("ada", ["a"]))
    assert "2 templates lost, 0 foreign" in str(journal.settle("ada", None))
    assert "0 templates lost, 1 foreign" in str(journal.settle("ada", ["a", "b", "c"]))
    assert "0 templates lost, 1 foreign" in str(journal.settle("bob", ["c"]))


@pytest.mark.parametrize(
    ("held", "is_allowed"),
    [
        (["a", "b"], True),
        (["a", "b", "c", "d", "e"], True),
        (["a", "b", "c"], False),
        (["a", "b", "c", "d"], False),
        (["c", "d", "e"], False),
        (["a"], False),
        (None, False),
    ],
)
def test_settle_of_an_unanswered_enrolment_of_three_takes_all_or_nothing(
    journal: Journal, held: list[str] | None, is_allowed: bool
):
    journal.begin_enroll("ada", 3, RNG)
    assert (journal.settle("ada", held) is None) == is_allowed


@pytest.mark.parametrize(("held", "is_allowed"), [(["a", "b"], True), (None, True), (["a"], False), (["c"], False)])
def test_settle_of_an_unanswered_deletion_of_a_subject_takes_all_or_nothing(
    journal: Journal, held: list[str] | None, is_allowed: bool
):
    journal.begin_delete("ada")
    assert (journal.settle("ada", held) is None) == is_allowed


@pytest.mark.parametrize(("held", "is_allowed"), [(["a", "b"], True), (["b"], True), (["a"], False), (None, False)])
def test_settle_of_an_unanswered_deletion_of_a_template_takes_either_state(
    journal: Journal, held: list[str] | None, is_allowed: bool
):
    journal.begin_delete("ada", "a")
    assert (journal.settle("ada", held) is None) == is_allowed


def test_absent_are_deleted_chips_and_references_that_nobody_may_hold(journal: Journal):
    first, second = journal.subjects["ada"].templates["a"], journal.subjects["ada"].templates["b"]
    assert names(journal) == set()
    journal.begin_delete("ada", "a")
    assert names(journal) == set()
    journal.acknowledge("ada")
    assert names(journal) == {frozenset([first]), frozenset([first, second])}
    journal.begin_delete("ada")
    journal.acknowledge("ada")
    assert names(journal) == {frozenset([first]), frozenset([second]), frozenset([first, second])}
    journal.free_chips = {first}
    journal.begin_enroll("bob", 1, RNG)  # under way: its bytes may be anywhere
    assert names(journal) == {frozenset([second]), frozenset([first, second])}


@pytest.fixture
def pool() -> ChipPool:
    rows = np.random.default_rng(0).normal(size=(4, 16))
    return ChipPool([b""] * 4, rows / np.linalg.norm(rows, axis=1, keepdims=True))


def ranking(pool: ChipPool, **chips: frozenset[int]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = [
        {"subject_id": name, "similarity": pool.similarity(held, 0), "threshold": 0.9} for name, held in chips.items()
    ]
    return sorted(found, key=lambda one: -float(str(one["similarity"])))


def test_compare_ranking_finds_the_missing_the_deleted_the_changed_and_the_unsorted(pool: ChipPool):
    ada, bob, gone = frozenset([0, 1]), frozenset([2]), frozenset([3])
    settled = {"ada": Sight(2, True, ada), "bob": Sight(2, True, bob), "eve": Sight(4, True, frozenset())}

    def complaints(candidates: list[dict[str, object]]) -> list[str]:
        return compare_ranking(pool, 0, settled, Answer(200, {"candidates": candidates}))

    right = ranking(pool, ada=ada, bob=bob)
    assert complaints(right) == []
    assert "bob is held and is missing" in complaints(ranking(pool, ada=ada))
    assert "eve was deleted and is listed" in complaints(ranking(pool, ada=ada, bob=bob, eve=gone))
    assert any("ada has similarity" in text for text in complaints(ranking(pool, ada=frozenset([0]), bob=bob)))
    unsorted = "candidates are not in the order of how far they lie above their thresholds"
    assert unsorted in complaints(right[::-1])
    assert complaints([right[0], right[1] | {"threshold": 0.99}]) == []
    assert unsorted in complaints([right[0] | {"threshold": 2.0}, right[1]])


def test_chips_of_one_seed_are_the_same_and_all_differ(face_samples: Path):
    chips = list(islice(draw_chips(face_samples, seed=4), 12))
    assert chips == list(islice(draw_chips(face_samples, seed=4), 12))
    assert len(set(chips)) == 12
    assert chips != list(islice(draw_chips(face_samples, seed=5), 12))


def test_embed_chips_of_faces_and_of_none_keeps_the_faces_and_tells_them_apart(
    server: RunningServer, face_samples: Path
):
    grey = encoded(Image.new("RGB", (150, 150), (90, 90, 90)), "PNG")
    caller = Caller(int(server.url.rsplit(":", 1)[1]))
    drawn = draw_chips(face_samples, seed=4)
    pool = embed_chips(caller, chain([grey], drawn), 24)
    caller.close()
    assert len(pool.chips) == len(pool.embeddings) == 24
    assert grey not in pool.chips
    alike = pool.embeddings @ pool.embeddings.T - np.eye(24)
    assert alike.max() < 0.9999


def test_server_that_does_not_start_or_is_dead_already_is_a_failure(tmp_path: Path):
    server = start_server(free_port(), tmp_path / "data", tmp_path / "no-models", tmp_path / "log")
    with pytest.raises(ServerFailedError, match="at its start"):
        server.wait_until_ready()
    with pytest.raises(ServerFailedError, match="died by itself"):
        server.kill()


def test_flood_says_what_it_could_not_offer(monkeypatch: pytest.MonkeyPatch):
    """Of a server that never answers, with fewer connections than requests."""
    monkeypatch.setattr(load, "MOST_CONNECTIONS", 5)

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1.0)
        writer.close()

    async def scenario() -> load.Outcome:
        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        outcome = await load.open_loop(server.sockets[0].getsockname()[1], [load.Call(b"x")], load.evenly(200.0, 0.2))
        server.close()
        return outcome

    outcome = asyncio.run(scenario())
    assert outcome.statuses[0] == sum(outcome.statuses.values()) == len(outcome.late_s) >= 5
    assert outcome.unsent == 40 - len(outcome.late_s) > 0


def test_watch_reports_each_listener_and_those_that_do_not_answer():
    command = [sys.executable, "-m", "loadtests.torture.watch", f"main={free_port()}", f"health={free_port()}"]
    watch = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    seen = json.loads(watch.communicate()[0])
    assert set(seen["latency_s"]) == {"main", "health"}
    assert {wrong.split(" of ")[1] for wrong in seen["wrong"]} == {
        "the main listener answered 0",
        "the health listener answered 0",
    }
