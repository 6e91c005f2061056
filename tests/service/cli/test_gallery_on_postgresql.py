"""`matchka gallery` and `matchka vault` on a store and a key store in PostgreSQL."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from matchka.cli.main import app
from matchka.settings import read_settings
from matchka.store.key_store.master_key import create_key_file
from matchka.store.store import opened_store
from matchka.store.vault.open_vault import VaultPlan, opened_vault
from tests.factories.postgres import Cluster, fresh_database
from tests.factories.unit_vectors import unit_vectors

units = partial(unit_vectors, dim=16)

Run = Callable[..., dict]


@pytest.fixture
def environment(cluster: Cluster, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Settings of an encrypted service with two databases."""
    create_key_file(tmp_path / "master.key")
    with fresh_database(cluster) as templates, fresh_database(cluster) as keys:
        yield {
            "MATCHKA_DATABASE_URL": templates.replace("+psycopg", ""),
            "MATCHKA_KEY_DATABASE_URL": keys,
            "MATCHKA_DATA_DIR": str(tmp_path / "data"),
            "MATCHKA_MODELS_DIR": str(tmp_path / "models"),
            "MATCHKA_MASTER_KEY_FILE": str(tmp_path / "master.key"),
        }


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def run_one(*arguments: object, code: int = 0) -> dict:
        done = CliRunner(env=environment).invoke(app, [*map(str, arguments), "--json"])
        assert done.exit_code == code, (done.output, done.exception)
        return json.loads(done.stdout) if not code else {"said": " ".join(done.output.split())}

    return run_one


def test_store_is_encrypted_backed_up_restored_without_the_deleted_and_verified(
    run: Run, environment: dict[str, str], tmp_path: Path
):
    url = environment["MATCHKA_DATABASE_URL"]
    with opened_store(url) as store:
        for number in range(3):
            store.add_templates("default", f"s{number}", "voice", "1", units(2, number))
    assert run("vault", "encrypt") == {"encrypted": 3}
    assert run("gallery", "backup", tmp_path / "a.backup")["templates"] == 6
    with opened_vault(VaultPlan.of(read_settings(environment))) as vault, opened_store(url, vault) as store:
        store.delete_subject("default", "s1")
    assert "--replace" in run("gallery", "restore", tmp_path / "a.backup", code=2)["said"]
    report = run("gallery", "restore", tmp_path / "a.backup", "--replace")
    assert (report["subjects"], report["templates"]) == (2, 4)
    assert report["kept_out"] + report["unreadable"] > 0
    verified = run("gallery", "verify")
    assert (verified["sound"], verified["subjects"], verified["templates"]) == (True, 2, 4)
    assert run("gallery", "status")["subjects"] == 2
    assert run("vault", "rotate", "--tenant", "default")["keys"] == 2
