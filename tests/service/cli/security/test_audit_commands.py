"""`matchka audit`, and what other commands leave in the audit log."""

import json
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from matchka.cli.main import app
from matchka.settings import read_settings
from matchka.store.audit.chain import START, linked
from matchka.store.audit.writer import writing_audit
from matchka.store.store import Store, opened_store
from matchka.store.subject_hash import read_hasher
from matchka.store.vault.open_vault import VaultPlan, opened_vault
from tests.factories.audit_logs import EVENTS
from tests.factories.bundles import write_bundle
from tests.factories.unit_vectors import unit_vectors
from tests.factories.vaults import VaultFolder, vault_folder

units = partial(unit_vectors, dim=8)
VERSION = "1"


class CommandLine:
    """`matchka` with the settings of a folder, and the service's store there."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.data = folder / "data"
        self.models = folder / "models"
        self.variables = {"MATCHKA_DATA_DIR": str(self.data), "MATCHKA_MODELS_DIR": str(self.models), **variables}
        self.settings = read_settings(self.variables)

    def run(self, *arguments: object, code: int = 0) -> Result:
        environment = {**self.variables, "COLUMNS": "200", "TERM": "dumb"}
        done = CliRunner(env=environment).invoke(app, [str(argument) for argument in arguments])
        assert done.exit_code == code, (done.output, done.exception)
        return done

    def verified(self, code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("audit", "verify", "--json", code=code).stdout)
        return found

    def exported(self, *options: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run("audit", "export", *options).stdout.splitlines()]

    def recorded(self) -> list[tuple[str, str, str | None]]:
        return [(one["call"], one["outcome"], one["detail"]) for one in self.exported()]

    def serve(self, *subjects: str) -> None:
        """Enrol subjects as a service does, and end."""
        with opened_vault(VaultPlan.of(self.settings)) as vault:
            hasher = read_hasher(vault, self.settings.subject_hash_key)
            with opened_store(self.settings.effective_database_url, vault, hasher=hasher, is_audited=True) as store:
                store.require_keys()
                with writing_audit(store.audit, self.settings.audit_checkpoint, 36_500):
                    for number, subject in enumerate(subjects):
                        add(store, subject, number)


def add(store: Store, subject: str, seed: int) -> None:
    store.add_templates("default", subject, "voice", VERSION, units(1, seed))


@pytest.fixture
def matchka(tmp_path: Path) -> CommandLine:
    (tmp_path / "data").mkdir(mode=0o700)
    write_bundle(tmp_path / "models" / "voice", version=VERSION)
    return CommandLine(tmp_path)


def test_verify_of_a_whole_log_says_how_long_it_is(matchka: CommandLine):
    matchka.serve("eva", "ada")
    assert matchka.verified() == {"records": 2, "last": 2, "pruned": 0, "flaws": [], "notices": []}
    assert "no record was changed, removed or cut off" in matchka.run("audit", "verify").stdout


def test_verify_of_a_changed_log_names_the_record_and_fails(matchka: CommandLine):
    matchka.serve("eva", "ada", "ida")
    with closing(sqlite3.connect(matchka.data / "matchka.sqlite")) as connection, connection:
        connection.execute("UPDATE audit_log SET outcome = 'deleted' WHERE sequence = 2")
    assert [flaw["sequence"] for flaw in matchka.verified(code=1)["flaws"]] == [2]
    assert (
        "record 2: the record, or its place, is not what was written" in matchka.run("audit", "verify", code=1).stdout
    )


def test_verify_of_a_log_without_its_checkpoint_fails(matchka: CommandLine):
    matchka.serve("eva")
    matchka.settings.audit_checkpoint.unlink()
    assert "there is no checkpoint" in matchka.verified(code=1)["flaws"][0]["what"]


@pytest.mark.parametrize("arguments", [("verify",), ("export",), ("export", "--subject", "ada")], ids=" ".join)
def test_folder_without_a_service_is_refused_and_left_as_it_is(matchka: CommandLine, arguments: tuple[str, ...]):
    assert "There is no database." in matchka.run("audit", *arguments, code=2).stderr
    assert list(matchka.data.iterdir()) == []


def test_verify_with_a_vault_needs_its_master_key(tmp_path: Path):
    folder: VaultFolder = vault_folder(tmp_path)
    vault = {
        "MATCHKA_MASTER_KEY_FILE": str(folder.master),
        "MATCHKA_KEY_DATABASE_URL": f"sqlite:///{folder.key_database}",
    }
    matchka = CommandLine(tmp_path, **vault)
    matchka.serve("eva")
    assert matchka.verified()["records"] == 1
    assert not matchka.settings.subject_hash_key.exists()
    folder.master.unlink()
    matchka.run("audit", "verify", code=2)


def test_export_holds_every_record_and_its_place_in_the_chain(matchka: CommandLine, tmp_path: Path):
    matchka.serve("eva", "ada")
    lines = matchka.exported()
    before = START
    for line in lines:
        fields = [value for name, value in line.items() if name != "hash"]
        before = linked(before, json.dumps(fields, separators=(",", ":")).encode())
        assert before == line["hash"]
    assert [line["sequence"] for line in lines] == [1, 2]
    target = tmp_path / "log.jsonl"
    matchka.run("audit", "export", target)
    assert [json.loads(line) for line in target.read_text().splitlines()] == lines


def test_export_of_a_span_of_time_a_tenant_or_a_subject_has_those_records_only(matchka: CommandLine):
    matchka.serve("eva", "ada", "eva2")
    times = [line["at"] for line in matchka.exported()]
    assert [line["sequence"] for line in matchka.exported("--since", times[1])] == [2, 3]
    assert [line["sequence"] for line in matchka.exported("--since", times[1], "--until", times[2])] == [2]
    assert [line["sequence"] for line in matchka.exported("--subject", "ada")] == [2]
    assert matchka.exported("--tenant", "another") == []
    assert matchka.exported("--until", "2020-01-01") == []


@pytest.mark.parametrize("time", ["yesterday", "2026-13-01", ""])
def test_export_since_what_is_no_time_is_refused(matchka: CommandLine, time: str):
    matchka.serve("eva")
    assert "is not a time" in matchka.run("audit", "export", "--since", time, code=2).output


def test_keys_that_a_command_makes_and_ends_are_recorded(matchka: CommandLine):
    made = json.loads(matchka.run("keys", "create", "one", "--json").stdout)["key_id"]
    successor = json.loads(matchka.run("keys", "rotate", made, "--json").stdout)["key_id"]
    matchka.run("keys", "revoke", successor)
    found = [(call.split(" ", 1)[1], outcome, detail) for call, outcome, detail in matchka.recorded()]
    assert found == [
        ("keys create", "created", f"key {made}"),
        ("keys rotate", "rotated", f"key {made} to {successor}"),
        ("keys revoke", "revoked", f"key {successor}"),
    ]
    assert {one["key_id"] for one in matchka.exported()} == {"command"}


def test_commands_record_nothing_where_no_log_is_kept(matchka: CommandLine):
    without = CommandLine(matchka.data.parent, MATCHKA_AUDIT__ENABLED="false")
    without.run("keys", "create", "one")
    assert without.recorded() == []


def test_exports_imports_and_backups_of_templates_are_recorded(matchka: CommandLine, tmp_path: Path):
    matchka.serve("eva", "ada")
    archive = tmp_path / "voices"
    matchka.run("gallery", "export", archive, "--model", "voice")
    matchka.run("gallery", "backup", tmp_path / "b.matchka-backup")
    elsewhere = CommandLine(tmp_path / "elsewhere", MATCHKA_MODELS_DIR=str(matchka.models))
    elsewhere.run("gallery", "import", archive, "--tenant", "other")
    found = [*matchka.exported()[2:], *elsewhere.exported()]
    assert [(one["call"].split(" ", 1)[1], one["outcome"], one["tenant"], one["count"]) for one in found] == [
        ("gallery export", "done", "default", 1),
        ("gallery backup", "done", None, 1),
        ("gallery import", "enrolled", "other", 2),
    ]


def test_restore_over_a_store_keeps_its_longer_log_and_records_itself(matchka: CommandLine, tmp_path: Path):
    backup = tmp_path / "b.matchka-backup"
    matchka.serve("eva")
    matchka.run("gallery", "backup", backup)
    matchka.serve("ada")
    matchka.run("gallery", "restore", backup, "--replace")
    outcomes = [(outcome, (detail or "")[-13:]) for _, outcome, detail in matchka.recorded()]
    assert [outcome for outcome, _ in outcomes] == ["enrolled", "done", "enrolled", "restored"]
    assert outcomes[-1][1] == " store before"
    assert matchka.verified()["flaws"] == []
    matchka.serve("ida")
    assert matchka.verified() == {"records": 5, "last": 5, "pruned": 0, "flaws": [], "notices": []}


def test_restore_to_another_folder_goes_on_with_the_log_of_the_backup(matchka: CommandLine, tmp_path: Path):
    backup = tmp_path / "b.matchka-backup"
    matchka.serve("eva")
    matchka.run("gallery", "backup", backup)
    elsewhere = CommandLine(tmp_path / "elsewhere")
    elsewhere.run("gallery", "restore", backup)
    assert [outcome for _, outcome, _ in elsewhere.recorded()] == ["enrolled", "restored"]
    elsewhere.serve("ada")
    found = elsewhere.verified()
    assert (found["records"], found["flaws"]) == (4, [])
    assert "there was no checkpoint" in found["notices"][0]


def test_database_that_was_put_back_by_hand_is_found(matchka: CommandLine):
    database = matchka.data / "matchka.sqlite"
    matchka.serve("eva")
    old = database.read_bytes()
    matchka.serve("ada", "ida")
    database.write_bytes(old)
    assert "the log was cut off: records 2 to 3" in matchka.verified(code=1)["flaws"][0]["what"]
    matchka.serve("eva2")
    assert "the checkpoint named record 3" in matchka.verified(code=1)["flaws"][0]["what"]


def test_rotation_of_keys_of_the_vault_is_recorded_before_and_after(tmp_path: Path):
    folder = vault_folder(tmp_path)
    vault = {
        "MATCHKA_MASTER_KEY_FILE": str(folder.master),
        "MATCHKA_KEY_DATABASE_URL": f"sqlite:///{folder.key_database}",
    }
    matchka = CommandLine(tmp_path, **vault)
    matchka.serve("eva")
    matchka.run("vault", "rotate", "--tenant", "default")
    matchka.run("vault", "encrypt")
    assert [(outcome, detail) for _, outcome, detail in matchka.recorded()][1:] == [
        ("begun", "key of tenant default"),
        ("rotated", "key of tenant default"),
        ("begun", None),
        ("done", None),
    ]


def test_events_that_a_service_records_verify_beside_those_of_commands(matchka: CommandLine):
    matchka.serve("eva")
    with (
        opened_store(matchka.settings.effective_database_url, is_audited=True) as store,
        writing_audit(store.audit, matchka.settings.audit_checkpoint, 36_500) as writer,
    ):
        assert writer is not None
        for event in EVENTS:
            writer.submit(event)
    matchka.run("keys", "create", "one")
    assert matchka.verified()["records"] == 12
