"""Whole runs against real servers: what passes, what does not, and what cannot begin."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.scenarios.table import SCENARIOS
from loadtests.server import free_port
from matchka.client import Client
from tests.factories.checkout import ROOT
from tests.factories.server_process import RunningServer

TIMEOUT_S = 180.0
# a run of seconds on a machine that others use says nothing about tails
LENIENT = ("--max-rejected", "1", "--max-p50-ratio", "1e6", "--max-p95-ratio", "1e6", "--max-p99-ratio", "1e6")


def run(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    options = ["--out", str(out), "--users", "2", "--duration", "5s", *words]
    command = [sys.executable, "-m", "loadtests.scenarios", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


@pytest.mark.usefixtures("voice_samples")
def test_spike_of_two_workers_passes_and_reports_where_and_what_it_was(server: RunningServer, tmp_path: Path) -> None:
    done = run(tmp_path, "--scenario", "spike", "--host", server.url, "--workers", "2", *LENIENT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "spike: passed" in done.stdout
    report = json.loads((tmp_path / "spike.json").read_text())
    assert (report["passed"], report["workers"], report["host"]) == (True, 2, server.url)
    page, machine = (tmp_path / "spike.html").read_text(), report["machine"]
    with Client(server.url) as client:
        bundles = [f"{model.name} {model.version}" for model in client.models().models]
    facts = [*bundles, f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB"]
    phases = ["before / ", "spike / ", "after / "]
    assert [fact for fact in [*facts, *phases, SCENARIOS["spike"].what] if fact not in page] == []


@pytest.mark.usefixtures("voice_samples")
def test_run_that_breaks_a_bound_exits_with_1_and_names_it(server: RunningServer, tmp_path: Path) -> None:
    done = run(
        tmp_path, "--scenario", "radio", "--host", server.url, *LENIENT, "--max-p99-ms", "0.001", "--duration", "15s"
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "radio: FAILED" in done.stdout
    report = json.loads((tmp_path / "radio.json").read_text())
    assert [bound["what"] for bound in report["bounds"] if not bound["kept"]] == ["classify radio: p99 in ms"]


@pytest.mark.usefixtures("models_dir", "voice_samples")
def test_tenants_with_keys_of_their_own_server_pass(tmp_path: Path) -> None:
    done = run(tmp_path, "--scenario", "tenants", "--port", str(free_port()), "--users", "4", *LENIENT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tenants: passed" in done.stdout
    report = json.loads((tmp_path / "tenants.json").read_text())
    assert report["passed"]
    failed = [bound["value"] for bound in report["bounds"] if "failures" in bound["what"]]
    assert failed
    assert not any(failed)  # none, or nobody of that call was answered: a busy machine rejects callers


def test_host_that_does_not_answer_is_told_and_exits_with_3(tmp_path: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        done = run(tmp_path, "--scenario", "radio", "--host", url)
    assert done.returncode == 3
    assert f"{url} does not answer" in done.stderr
    assert not (tmp_path / "radio.html").exists()


def test_unknown_scenario_is_refused_before_a_server_starts(tmp_path: Path) -> None:
    done = run(tmp_path / "out", "--scenario", "hammer")
    assert done.returncode == 2
    assert all(name in done.stderr for name in SCENARIOS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", [("--users", "0"), ("--workers", "-1"), ("--duration", "0s")])
def test_number_that_can_be_none_is_refused_before_a_server_starts(tmp_path: Path, option: tuple[str, str]) -> None:
    done = run(tmp_path / "out", *option)
    assert done.returncode == 2
    assert f"argument {option[0]}: " in done.stderr
    assert not (tmp_path / "out").exists()
