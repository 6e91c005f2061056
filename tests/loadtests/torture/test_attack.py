"""The attacks on what is enrolled: what counts as broken, that each really attacks, and a run in small."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from loadtests.torture.attack.__main__ import ATTACKS, write_reports
from loadtests.torture.attack.attack import Attack, Plan, Result
from loadtests.torture.attack.recovery import Estimate
from tests.factories.checkout import ROOT
from tests.factories.direct_embedder import DIM

RUN_S = 600


def never(_plan: Plan) -> Result:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("known_limit", "leaked", "is_broken"),
    [("", 0, False), ("", 1, True), ("limit 3", 1, False), ("limit 3", 0, False)],
)
def test_broken_is_what_leaks_and_is_no_known_limit(known_limit: str, leaked: int, is_broken: bool):
    found = Attack("an attack", never, known_limit).broken(Result(4, 3, leaked, "a note"))
    assert found == (["an attack: 1 of 4 gave what they must not; a note"] if is_broken else [])


def test_reports_tell_every_attack_and_what_is_known_of_it(tmp_path: Path):
    rows = [(Attack("one", never), Result(2, 2, 0, "fine")), (Attack("two", never, "limit 3"), Result(1, 0, 1, "told"))]
    write_reports(tmp_path, rows, ["a problem"])
    report = json.loads((tmp_path / "attack.json").read_text())
    assert report["broken"] == ["a problem"]
    assert [(row["attack"], row["leaked"], row["known_limit"]) for row in report["rows"]] == [
        ("one", 0, ""),
        ("two", 1, "limit 3"),
    ]
    page = (tmp_path / "attack.md").read_text()
    assert "| one | 2 | 2 | 0 | fine |" in page
    assert "| two | 1 | 0 | 1 | told (limit 3) |" in page


def test_estimate_of_probes_with_told_signs_finds_their_direction():
    generator = np.random.default_rng(3)
    template = generator.normal(size=DIM)
    template /= np.linalg.norm(template)
    estimate = Estimate()
    for probe in generator.normal(size=(2000, DIM)):
        estimate.note(probe, bool(probe @ template > 0))
    found = estimate.direction
    assert found @ template / np.linalg.norm(found) > 0.9


def run(out: Path, only: str, *words: str) -> dict[str, dict]:
    command = [sys.executable, "-m", "loadtests.torture.attack", "--out", str(out), "--only", only, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=RUN_S)
    assert done.returncode == 0, done.stderr
    return {row["attack"]: row for row in json.loads((out / "attack.json").read_text())["rows"]}


def nothing_leaked(rows: dict[str, dict]) -> None:
    assert rows
    assert not any(row["leaked"] for row in rows.values() if not row["known_limit"])
    assert all(row["tried"] for row in rows.values())


def templates_are_recovered_with_scores_alone(rows: dict[str, dict]) -> None:
    nothing_leaked(rows)
    with_scores = rows["template recovery, with `scores`"]
    assert with_scores["leaked"] == 1
    assert "1.000000" in with_scores["note"]
    assert rows["template recovery, default scopes"]["refused"] > 0


def all_is_refused(rows: dict[str, dict]) -> None:
    nothing_leaked(rows)
    assert all(row["refused"] == row["tried"] for row in rows.values())


def names_are_not_bound(rows: dict[str, dict]) -> None:
    assert [row["leaked"] for row in rows.values()] == [1]  # the tampering reaches what is read


@pytest.mark.slow  # real servers
@pytest.mark.parametrize(
    ("only", "check"),
    [
        ("template recovery", templates_are_recovered_with_scores_alone),
        ("append", all_is_refused),
        ("tenant", nothing_leaked),
        ("database rows", all_is_refused),
        ("exchanged names", names_are_not_bound),
        ("key store", nothing_leaked),
        ("audit log", all_is_refused),
    ],
)
def test_attack_in_small_leaks_nothing_but_the_known_limits(
    tmp_path: Path, only: str, check: Callable[[dict[str, dict]], None]
):
    check(run(tmp_path, only, "--recovery-calls", "120"))


def test_attacks_have_names_of_their_own():
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
