"""A server that is killed at any moment: nothing acknowledged is lost, nothing deleted comes back, starts are clean.

A few kills of what `make torture` does two hundred times.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.factories.checkout import ROOT

KILLS = 5


@pytest.fixture(scope="module")
def report(models_dir: Path, face_samples: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    out = tmp_path_factory.mktemp("torture")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "loadtests.torture.durability", "--kills", str(KILLS), "--seed", "3"),
            *("--models-dir", str(models_dir), "--samples", str(face_samples), "--out", str(out)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (out / "durability.json").is_file(), done.stdout + done.stderr
    found: dict = json.loads((out / "durability.json").read_text())
    return found


def test_server_killed_under_traffic_keeps_every_promise(report: dict):
    assert report["broken"] == []
    assert report["kills"] == KILLS


def test_torture_that_kept_every_promise_had_something_to_keep(report: dict):
    assert report["killed"]["under traffic"] >= 1
    assert report["writes_acknowledged"]["enroll"] >= 5
    assert report["compared"]["similarities"] > 100
    assert report["compared"]["controls found"] >= 1
    assert "matchka.sqlite" in report["files"]
