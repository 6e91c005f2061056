"""`matchka keys` on a data folder, alone and beside a service that runs on it."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import Result
from typer.testing import CliRunner

from matchka.api.guards.key_ring import REREAD_S
from matchka.cli.main import app
from matchka.cli.output.scores import required
from matchka.errors import MissingScopeError
from tests.factories.checkout import ROOT
from tests.factories.small_server import SmallServer


class Program:
    """The command line on one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.environment = {"MATCHKA_DATA_DIR": str(data_dir)}

    def run(self, *arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(app, ["keys", *arguments], env=self.environment)
        assert done.exit_code == code, (done.output, done.exception)
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "new" / "data")


def test_key_is_printed_alone_and_everything_else_beside_it(program: Program):
    first, second = program.run("create", "door"), program.run("create", "gate")
    assert first.stdout.startswith("mk_")
    assert len(first.stdout.split()) == 1
    assert "enroll verify identify" in first.stderr
    assert "callers without one are refused" in first.stderr
    assert "callers without one are refused" not in second.stderr
    assert ("A new store is made" in first.stderr, "A new store is made" in second.stderr) == (True, False)


def test_listed_keys_are_described_without_their_secrets(program: Program):
    options = ["--tenant", "a", "--scopes", "verify,scores", "--expires-in-days", "2", "--max-fmr", "0.5"]
    made = program.json("create", "door 1", *options, "--requests-per-s", "3", "--max-subjects", "9")
    program.json("create", "other", "--scopes", "all")
    (listed,) = program.json("list", "--tenant", "a")
    assert listed == {name: value for name, value in made.items() if name != "key"}
    assert (listed["scopes"], listed["max_fmr"], listed["max_fpir"]) == (["verify", "scores"], 0.5, 0.01)
    assert (listed["requests_per_s"], listed["max_subjects"], listed["max_templates"]) == (3.0, 9, None)
    shown = program.run("list").stdout
    assert made["key_id"] in shown
    assert "in force until" in shown
    assert made["key"] not in shown
    assert "audit.read" in shown


def test_revoked_and_rotated_keys_are_shown_as_such(program: Program):
    gone, old = (program.json("create", name)["key_id"] for name in ("gone", "old"))
    assert gone in program.run("revoke", gone).stdout
    new = program.json("rotate", old, "--overlap-s", "60")
    by_id = {key["key_id"]: key for key in program.json("list")}
    assert by_id[gone]["revoked_at"] is not None
    assert by_id[old]["replaced_by"] == new["key_id"]
    assert by_id[new["key_id"]]["name"] == "old"
    assert "revoked 20" in program.run("list").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["revoke", "nothing"], "no such key"),
        (["rotate", "0" * 12], "no such key"),
        (["create", "a", "--scopes", "fly"], "fly"),
        (["create", "a", "--max-fmr", "2"], "max_fmr"),
        (["create", ""], "name"),
    ],
)
def test_command_that_cannot_be_done_says_why(program: Program, arguments: list[str], said: str):
    program.run("create", "door")
    assert said in program.run(*arguments, code=2).stderr


@pytest.mark.parametrize("arguments", [["list"], ["revoke", "0" * 12], ["rotate", "0" * 12]], ids=lambda one: one[0])
def test_command_on_a_folder_without_a_service_says_so_and_makes_nothing(program: Program, arguments: list[str]):
    refused = program.run(*arguments, code=2).stderr
    assert "There is no database." in refused
    assert "MATCHKA_DATA_DIR" in refused
    assert not Path(program.environment["MATCHKA_DATA_DIR"]).exists()


def test_database_that_cannot_be_opened_is_an_error_and_no_traceback(program: Program):
    folder = Path(program.environment["MATCHKA_DATA_DIR"])
    folder.mkdir(parents=True)
    (folder / "matchka.sqlite").write_bytes(b"no database at all" * 1000)
    assert "database" in program.run("list", code=2).stderr


@pytest.mark.slow  # each command is a process, which has much to import
def test_change_by_another_process_holds_within_a_second_without_a_restart(small_server: SmallServer):
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "matchka", "keys", *arguments],
            env={"MATCHKA_DATA_DIR": str(small_server.settings.data_dir), "PATH": "/usr/bin:/bin"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def status(key: str) -> int:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return requests.get(f"{small_server.url}/v1/models", headers=headers, timeout=20).status_code

    def seconds_until(key: str, wanted: int) -> float:
        began = time.monotonic()
        while status(key) != wanted:
            assert time.monotonic() - began < 20
        return time.monotonic() - began

    assert status("") == 200  # no key is in force
    key = run("create", "door")
    waits = [seconds_until(key, 200), seconds_until("", 401)]
    key_id = key.split("_")[1]
    new = run("rotate", key_id)
    waits += [seconds_until(new, 200), seconds_until(key, 401)]
    run("revoke", new.split("_")[1])
    waits.append(seconds_until(new, 401))
    assert status("") == 401  # what was revoked opens nothing
    assert max(waits) < 16 * REREAD_S  # within a second, where the machine is not busy


def test_demonstration_without_scores_says_which_key_it_needs():
    assert required(0.5) == 0.5
    with pytest.raises(MissingScopeError, match="scores"):
        required(None)
