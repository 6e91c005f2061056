"""`matchka vault`, and `matchka gallery` on an encrypted store."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from matchka.bundles.manifest import Manifest
from matchka.cli.main import app
from matchka.store.store import opened_store
from tests.factories.bundles import write_bundle
from tests.factories.unit_vectors import unit_vectors
from tests.factories.vaults import VaultFolder, vault_folder

units = partial(unit_vectors, dim=16)
VERSION = "1"


class CommandLine:
    """`matchka` with the settings of a folder."""

    def __init__(self, folder: VaultFolder, **changes: str) -> None:
        self._environment = {
            "MATCHKA_DATA_DIR": str(folder.database.parent),
            "MATCHKA_MODELS_DIR": str(folder.path / "models"),
            "MATCHKA_MASTER_KEY_FILE": str(folder.master),
            "MATCHKA_KEY_DATABASE_URL": f"sqlite:///{folder.key_database}",
            "COLUMNS": "200",
            "TERM": "dumb",
            **changes,
        }

    def run(self, *arguments: object, code: int = 0) -> Result:
        done = CliRunner(env=self._environment).invoke(app, [str(argument) for argument in arguments])
        assert done.exit_code == code, (done.output, done.exception)
        return done

    def json(self, *arguments: object) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(*arguments, "--json").stdout)
        return found


@pytest.fixture
def folder(tmp_path: Path) -> VaultFolder:
    return vault_folder(tmp_path)


@pytest.fixture
def in_clear(folder: VaultFolder) -> VaultFolder:
    with opened_store(folder.url) as store:
        enrol_three(store)
    return folder


@pytest.fixture
def encrypted(folder: VaultFolder) -> VaultFolder:
    with folder.opened() as (store, _):
        enrol_three(store)
    return folder


def enrol_three(store) -> None:
    for number, name in enumerate(("ada", "bob", "cyd")):
        store.add_templates("default", name, "voice", VERSION, units(2, number))


def references(folder: VaultFolder) -> dict[str, np.ndarray]:
    with folder.opened() as (store, _):
        names = [one.subject_id for one in store.subjects("default", 100, None)]
        return {name: store.reference("default", name, "voice", VERSION).embedding for name in names}


def require_as_enrolled(folder: VaultFolder, *names: str) -> None:
    found = references(folder)
    assert found.keys() == set(names)
    for name, embedding in found.items():
        expected = units(2, ("ada", "bob", "cyd").index(name)).mean(axis=0)
        np.testing.assert_allclose(embedding, expected, atol=1e-7)


def test_created_key_is_named_and_not_shown(folder: VaultFolder):
    done = CommandLine(folder).run("vault", "create-key", folder.path / "new.key")
    assert "master key" in done.stdout
    assert (folder.path / "new.key").read_text().strip() not in done.output
    again = CommandLine(folder).run("vault", "create-key", folder.path / "new.key", code=2)
    assert "file of this name" in again.stderr


def test_store_in_clear_is_counted_encrypted_and_counted_again(in_clear: VaultFolder):
    line = CommandLine(in_clear)
    before = line.json("vault", "status")
    assert (before["subjects"], before["in_clear"], before["only_encrypted"]) == (3, 3, False)
    assert line.json("vault", "encrypt") == {"encrypted": 3}
    after = line.json("vault", "status")
    assert (after["in_clear"], after["without_key"], after["unused_keys"], after["only_encrypted"]) == (0, 0, 0, True)
    assert [(key["tenant"], key["subjects"], key["is_current"]) for key in after["tenant_keys"]] == [
        ("default", 3, True)
    ]
    assert "3 subjects, 0 in clear" in line.run("vault", "status").stdout
    assert line.json("gallery", "verify")["sound"] is True
    require_as_enrolled(in_clear, "ada", "bob", "cyd")


def test_commands_of_the_vault_without_a_key_say_how_to_get_one(in_clear: VaultFolder):
    line = CommandLine(in_clear, MATCHKA_MASTER_KEY_FILE="")
    for command in (["status"], ["encrypt"], ["rotate", "--tenant", "default"], ["backup", "x"]):
        assert "create-key" in line.run("vault", *command, code=2).stderr
    assert "--master and --tenant" in line.run("vault", "rotate", code=2).stderr


def test_encrypted_store_is_closed_to_commands_without_its_key(encrypted: VaultFolder):
    line = CommandLine(encrypted, MATCHKA_MASTER_KEY_FILE="")
    for command in (["verify"], ["export", encrypted.path / "e", "--model", "voice"], ["prune", "voice"]):
        assert line.run("gallery", *command, code=2).stderr
    assert line.json("gallery", "status")["subjects"] == 3  # counts need no key


def test_rotations_of_tenant_and_master_key_keep_everybody_readable(encrypted: VaultFolder):
    line = CommandLine(encrypted)
    assert line.json("vault", "rotate", "--tenant", "default") == {"tenant": "default", "keys": 3, "finished": True}
    new = encrypted.path / "new.key"
    line.run("vault", "create-key", new)
    first = line.run("vault", "rotate", "--master", new)
    assert "run the same command again" in first.stdout
    require_as_enrolled(encrypted, "ada", "bob", "cyd")
    with_new = CommandLine(encrypted, MATCHKA_MASTER_KEY_FILE=str(new))
    assert with_new.json("vault", "rotate", "--master", new)["finished"] is True
    assert (
        "locked" in line.run("vault", "status", code=2).stderr
        or "master key" in line.run("vault", "status", code=2).stderr
    )
    shutil.move(new, encrypted.master)
    require_as_enrolled(encrypted, "ada", "bob", "cyd")


def test_yesterdays_backup_restored_does_not_open_whoever_was_deleted_and_opens_the_others(encrypted: VaultFolder):
    line, backup = CommandLine(encrypted), encrypted.path / "yesterday.matchka-backup"
    line.run("gallery", "backup", backup)
    with encrypted.opened() as (store, _):
        store.delete_subject("default", "bob")
    report = line.json("gallery", "restore", backup, "--replace", "--resurrect")
    assert (report["subjects"], report["unreadable"]) == (2, 1)
    require_as_enrolled(encrypted, "ada", "cyd")
    # on a fresh machine, with the key store and without the deletion log
    shutil.rmtree(encrypted.database.parent)
    encrypted.database.parent.mkdir()
    report = line.json("gallery", "restore", backup)
    assert (report["subjects"], report["unreadable"]) == (2, 1)
    require_as_enrolled(encrypted, "ada", "cyd")
    assert line.json("gallery", "verify")["sound"] is True


def test_backup_in_clear_is_encrypted_when_it_is_restored(in_clear: VaultFolder):
    line, backup = CommandLine(in_clear), in_clear.path / "clear.matchka-backup"
    line.run("gallery", "backup", backup)
    line.run("vault", "encrypt")
    line.run("gallery", "restore", backup, "--replace")
    backup.unlink()
    assert line.json("vault", "status")["in_clear"] == 0
    needle = units(2, 0)[0].tobytes()[:16]
    assert not any(needle in path.read_bytes() for path in in_clear.path.rglob("*") if path.is_file())
    require_as_enrolled(in_clear, "ada", "bob", "cyd")


def test_backup_is_not_restored_with_another_key_store(encrypted: VaultFolder, tmp_path: Path):
    backup = encrypted.path / "a.matchka-backup"
    CommandLine(encrypted).run("gallery", "backup", backup)
    other = vault_folder(tmp_path / "other")
    refused = CommandLine(other).run("gallery", "restore", backup, code=2)
    assert "key store" in refused.stderr
    assert not other.database.exists()


def test_export_of_an_encrypted_store_is_in_clear_only_where_that_is_said(encrypted: VaultFolder):
    line, export = CommandLine(encrypted), encrypted.path / "e.matchka-export"
    assert "--in-clear" in line.run("gallery", "export", export, "--model", "voice", code=2).stderr
    assert not export.exists()
    assert line.json("gallery", "export", export, "--model", "voice", "--in-clear")["templates"] == 6
    assert units(2, 0)[0].tobytes() in export.read_bytes()


def test_import_encrypts_what_it_takes(in_clear: VaultFolder, tmp_path: Path):
    bundle = write_bundle(in_clear.path / "models" / "voice")
    manifest = Manifest.model_validate_json((bundle / "manifest.json").read_text())
    source = vault_folder(tmp_path / "source")
    full_dim = next(iter(manifest.outputs.values())).full_dim  # type: ignore[union-attr]
    rows = unit_vectors(3, 5, dim=full_dim)
    with opened_store(source.url) as store:
        store.add_templates("default", "dan", "voice", manifest.version, rows[:2])
        store.add_templates("default", "ada", "voice", manifest.version, rows[2:])
    export = tmp_path / "e.matchka-export"
    CommandLine(source, MATCHKA_MASTER_KEY_FILE="").run("gallery", "export", export, "--model", "voice")
    line = CommandLine(in_clear)
    assert line.json("gallery", "import", export)["templates"] == 3
    export.unlink()
    shutil.rmtree(source.path)
    assert line.json("vault", "status")["in_clear"] == 0  # those who were there, too
    with in_clear.opened() as (store, _):
        found = store.reference("default", "dan", "voice", manifest.version)
        np.testing.assert_allclose(found.embedding, rows[:2].mean(axis=0), atol=1e-6)
        assert store.reference("default", "ada", "voice", VERSION).template_count == 2
    needle = rows[0].tobytes()[:16]
    assert not any(needle in path.read_bytes() for path in in_clear.path.rglob("*") if path.is_file())


def test_copy_of_the_key_store_is_written_over_the_last_one(encrypted: VaultFolder):
    line, copy = CommandLine(encrypted), encrypted.path / "copy"
    line.run("vault", "backup", copy)
    line.run("vault", "backup", copy)
    shutil.move(copy, encrypted.key_database)
    require_as_enrolled(encrypted, "ada", "bob", "cyd")
