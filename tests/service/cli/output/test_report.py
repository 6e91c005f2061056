"""Every command that finds anything prints one JSON document where it is asked to, and errors as another."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from matchka.cli.deferred import DEFERRED, loaded
from matchka.cli.main import app
from matchka.cli.output.errors import FAILED, problem_of
from matchka.errors import MatchkaError, RequestFailedError, VaultLockedError
from tests.factories.command_line import run
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer

# what they do is no answer: a service until it is stopped, a performance for people, and JSON lines as they come
WITHOUT_A_REPORT = {"serve", "demo", "audit export"}


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command below one, the deferred ones imported, by what is typed."""
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, below in command.commands.items():
        real = loaded(name) if not path and name in DEFERRED else below
        yield from leaves(real, (*path, name))


def test_every_command_has_json_but_those_listed():
    found = dict(leaves(typer.main.get_command(app)))
    assert len(found) > 30
    without = {path for path, command in found.items() if all("--json" not in option.opts for option in command.params)}
    assert without == WITHOUT_A_REPORT


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["wait"], "status"),
        (["models"], "models"),
        (["subjects", "list"], "subjects"),
        (["subjects", "show", "reported"], "subject_id"),
        (["subjects", "export", "reported"], "subject_id"),
        (["subjects", "export", "reported", "all.json"], "file"),
        (["subjects", "set", "reported", "--purpose", "a test"], "purpose"),
        (["verify", "reported", "a.wav"], "match"),
        (["keys", "list"], None),
        (["gallery", "status"], "holdings"),
    ],
)
def test_command_with_json_prints_one_document_and_nothing_else(
    small_server: SmallServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], field: str | None
):
    monkeypatch.chdir(tmp_path)
    Path("a.wav").write_bytes(sample(7))
    run(small_server, "enroll", "reported", "a.wav")
    done = run(small_server, *arguments, "--json", MATCHKA_DATA_DIR=str(small_server.settings.data_dir))
    document = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert isinstance(document, list) if field is None else field in document


def test_lists_of_several_pages_are_one_document(small_server: SmallServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("matchka.cli.client.subjects_commands.PAGE", 2)
    names = [f"paged:{number}" for number in range(5)]
    with small_server.client() as client:
        for number, name in enumerate(names):
            client.enroll(name, [sample(20 + number)])
    listed = json.loads(run(small_server, "subjects", "list", "--json").stdout)
    assert {subject["subject_id"] for subject in listed["subjects"]} >= set(names)
    assert listed["next_cursor"] is None
    deleted = [json.loads(run(small_server, "subjects", "delete", name, "--json").stdout) for name in names]
    assert deleted == [{"subject_id": name, "deleted": True} for name in names]


def test_names_that_look_like_emoji_stay_as_they_are(small_server: SmallServer, tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(sample(9))
    assert "enrolled a:key:b: 1 new" in run(small_server, "enroll", "a:key:b", tmp_path / "a.wav").stdout
    assert "a:key:b" in run(small_server, "subjects", "list").stdout
    assert "a:key:c" in run(small_server, "subjects", "show", "a:key:c").stderr
    run(small_server, "subjects", "delete", "a:key:b")


def test_refusal_with_json_is_one_problem_on_the_error_stream(small_server: SmallServer):
    done = run(small_server, "subjects", "show", "nobody", "--json")
    assert (done.exit_code, done.stdout) == (FAILED, "")
    problem = json.loads(done.stderr)
    assert (problem["status"], problem["code"], problem["value"]) == (404, "unknown_subject", "nobody")
    assert problem["remedy"]


def test_refusal_speaks_to_people_of_options_and_commands_and_to_machines_of_fields(
    small_server: SmallServer, tmp_path: Path
):
    (tmp_path / "a.wav").write_bytes(sample(31))
    again = ("enroll", "spoken", tmp_path / "a.wav", "--mode", "create")
    assert run(small_server, *again).exit_code == 0
    assert "Send --mode append to add to them" in run(small_server, *again).stderr
    assert "Send mode=append" in json.loads(run(small_server, *again, "--json").stderr)["remedy"]
    assert "with `matchka subjects list`." in run(small_server, "subjects", "show", "nobody").stderr
    too_high = run(small_server, "verify", "spoken", tmp_path / "a.wav", "--max-fmr", "2")
    assert "--max-fmr" in too_high.stderr
    assert "max_fmr" not in too_high.stderr
    past = run(small_server, "subjects", "set", "spoken", "--expires-at", "2020-01-01T00:00:00Z")
    assert "--expires-at has to lie in the future" in past.stderr
    run(small_server, "subjects", "delete", "spoken")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["models", "--url", "http://127.0.0.1:1"], "service_unreachable"),
        (["embed", "missing.wav"], "invalid_field"),
        (["gallery", "status"], "settings"),
    ],
)
def test_failure_of_this_machine_with_json_is_a_problem_without_a_status(
    small_server: SmallServer, arguments: list[str], code: str
):
    variables = {"MATCHKA_PORT": "0"} if code == "settings" else {}
    done = run(small_server, *arguments, "--json", **variables)
    assert (done.exit_code, done.stdout) == (FAILED, "")
    problem = json.loads(done.stderr)
    assert problem["code"] == code
    assert "status" not in problem


@pytest.mark.parametrize(
    ("arguments", "named", "command"),
    [
        (["verify"], "subject_id", "verify"),
        (["embed", "a.wav", "--dim", "x"], "--dim", "embed"),
        (["embed", "a.wav", "--dimm", "3"], "--dimm", "embed"),
        (["embedd", "a.wav"], "embedd", ""),
        (["gallery", "status", "--fast"], "--fast", "gallery status"),
        (["audit", "export"], "--json", "audit export"),
    ],
)
def test_command_line_that_is_wrong_is_a_problem_with_json_and_words_without(
    small_server: SmallServer, arguments: list[str], named: str, command: str
):
    done = run(small_server, *arguments, "--json")
    assert (done.exit_code, done.stdout) == (FAILED, "")
    problem = json.loads(done.stderr)
    assert (problem["code"], "status" in problem) == ("usage", False)
    assert named in problem["detail"]
    assert f" {command} --help`".replace("  ", " ") in problem["remedy"]
    if "--json" not in problem["detail"]:
        told = run(small_server, *arguments)
        assert (told.exit_code, told.stderr.startswith("Usage: ")) == (FAILED, True)


def test_exit_codes_and_help_are_the_same_with_json(small_server: SmallServer):
    assert run(small_server, "subjects", "list", "--json").exit_code == 0
    helped = run(small_server, "verify", "--json", "--help")
    assert (helped.exit_code, "--max-fmr" in helped.stdout) == (0, True)


def test_problem_of_the_service_keeps_its_code_and_one_of_ours_has_the_name_of_its_class():
    refused = RequestFailedError("No.", remedy="Ask.", value="a", status=409, code="already_enrolled")
    assert problem_of(refused) == {
        "status": 409,
        "code": "already_enrolled",
        "detail": "No.",
        "value": "a",
        "remedy": "Ask.",
    }
    locked: MatchkaError = VaultLockedError("Locked.", remedy="Unlock it.")
    assert problem_of(locked)["code"] == "vault_locked"
