"""The torture of replicas: its report, what it puts before them, and a run in small."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtests.clusters import DURABLE, Cluster, what_is_missing
from loadtests.torture.replicas.__main__ import TRIALS, write_reports
from loadtests.torture.replicas.group import Group, Replica
from loadtests.torture.replicas.proxy import configuration_of, program
from loadtests.torture.replicas.trial import Plan, Result, Trial
from tests.factories.checkout import ROOT

RUN_S = 1800
SMALL = ("--pairs", "64", "--calls", "60", "--drains", "2", "--pause-s", "3")
missing = what_is_missing() or (None if program() else "HAProxy is not installed")


def never(_plan: Plan) -> Result:
    raise NotImplementedError


def replica(name: str, port: int) -> Replica:
    return Replica(name, Path("f"), Path("m"), {}, port, port + 1)


def test_report_tells_every_trial_and_what_broke(tmp_path: Path):
    plan = Plan(tmp_path, Cluster(tmp_path, DURABLE), drains=3)
    rows = [
        (Trial("one", "it holds", never), Result(7, 7, (), "fine"), 1.0),
        (Trial("two", "it holds, too", never), Result(7, 5, ("a problem",), "a note"), 2.0),
    ]
    write_reports(tmp_path, plan, rows)
    report = json.loads((tmp_path / "replicas.json").read_text())
    assert report["plan"]["drains"] == 3
    assert [row["broken"] for row in report["rows"]] == [[], ["a problem"]]
    page = (tmp_path / "replicas.md").read_text().splitlines()
    assert "| one | it holds | 7 | 7 | fine |" in page
    assert "| two | it holds, too | 7 | 5 | **broken**; a note |" in page


def test_trials_have_names_of_their_own():
    assert len({trial.name for trial in TRIALS}) == len(TRIALS)


def test_configuration_names_every_replica_of_every_group_and_no_other():
    one = Group("one", [replica(f"replica {letter}", 10_000 + place) for place, letter in enumerate("abc")])
    two = replace(one, name="two", replicas=[replica("replica a", 12_000)])
    text = configuration_of([one, two])
    backends = text.split("\nbackend ")[1:]
    servers = [[line.split()[1:] for line in part.splitlines()[1:] if line.strip()] for part in backends]
    first = [[letter, f"127.0.0.1:{10_000 + p}", "port", f"{10_001 + p}"] for p, letter in enumerate("abc")]
    assert servers[0] == first
    assert servers[1] == [["a", "127.0.0.1:12000", "port", "12001"]]
    assert len(backends) == 2


@pytest.mark.slow  # real servers, proxies and databases
@pytest.mark.skipif(missing is not None, reason=str(missing))
def test_replicas_in_small_break_nothing(tmp_path: Path):
    command = [sys.executable, "-m", "loadtests.torture.replicas", "--out", str(tmp_path), *SMALL]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=RUN_S)
    assert done.returncode == 0, done.stdout + done.stderr
    rows: list[dict[str, Any]] = json.loads((tmp_path / "replicas.json").read_text())["rows"]
    assert [row["trial"] for row in rows] == [trial.name for trial in TRIALS]
    assert all(row["tried"] and not row["broken"] for row in rows)
