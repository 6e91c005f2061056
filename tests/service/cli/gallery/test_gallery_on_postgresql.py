"""`matchka gallery` and `matchka vault` on a store and a key store in PostgreSQL."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.repository import list_bundles
from matchka.cli.main import app
from matchka.runtime.data_dir import owned_data_dir
from matchka.settings import read_settings
from matchka.store.key_store.master_key import create_key_file
from matchka.store.store import opened_store
from matchka.store.vault.open_vault import VaultPlan, opened_vault
from tests.factories.bundles import write_bundle
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


def test_import_runs_beside_a_service_that_holds_the_data_folder(run: Run, environment: dict[str, str], tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    (manifest,) = [bundle.manifest for bundle in list_bundles(tmp_path / "models")]
    dim = manifest.output(EmbeddingOutput).full_dim
    with opened_store(environment["MATCHKA_DATABASE_URL"]) as store:
        for number in range(3):
            rows = unit_vectors(2, number, dim=dim)
            store.add_templates("default", f"s{number}", "voice", manifest.version, rows)
    run("vault", "encrypt")
    run("gallery", "export", tmp_path / "a.export", "--model", "voice", "--in-clear")
    plan = VaultPlan.of(read_settings(environment))
    with opened_vault(plan) as vault, opened_store(environment["MATCHKA_DATABASE_URL"], vault) as store:
        store.delete_subject("default", "s1")
    with owned_data_dir(Path(environment["MATCHKA_DATA_DIR"])):
        report = run("gallery", "import", tmp_path / "a.export", "--resurrect")
    assert (report["subjects"], report["templates"], report["present"]) == (1, 2, 2)
    assert run("gallery", "verify")["findings"] == []


def test_key_store_is_rotated_copied_and_put_back_without_the_keys_of_the_deleted(
    run: Run, environment: dict[str, str], cluster: Cluster, tmp_path: Path
):
    url = environment["MATCHKA_DATABASE_URL"]
    with opened_store(url) as store:
        for number in range(3):
            store.add_templates("default", f"s{number}", "voice", "1", units(2, number))
    run("vault", "encrypt")
    run("vault", "rotate", "--tenant", "default")
    done = CliRunner(env=environment).invoke(app, ["vault", "backup", str(tmp_path / "keys.copy")])
    assert done.exit_code == 0, done.output
    with opened_vault(VaultPlan.of(read_settings(environment))) as vault, opened_store(url, vault) as store:
        store.delete_subject("default", "s1")
    assert "has keys already" in run("vault", "restore", tmp_path / "keys.copy", code=2)["said"]
    with fresh_database(cluster) as new:
        environment["MATCHKA_KEY_DATABASE_URL"] = new
        report = run("vault", "restore", tmp_path / "keys.copy")
        assert (report["keys"], report["left_out"]) == (2, 1)
        status = run("vault", "status")
        assert (status["subjects"], status["without_key"], status["unused_keys"]) == (2, 0, 0)
        assert run("gallery", "verify")["findings"] == []
