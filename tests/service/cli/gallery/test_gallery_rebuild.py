"""`matchka gallery rebuild` against a server of Milvus Lite, beside a service or without one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from matchka.app import opened_verifier
from matchka.cli.main import app
from matchka.settings import read_settings
from tests.factories.bundles import write_bundle
from tests.factories.milvus import TIMEOUT_S, LiteServer, lite_server, needs_milvus
from tests.factories.samples import sample


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiteServer]:
    with lite_server(tmp_path / "lite.db") as running:
        yield running


def variables(folder: Path, **more: str) -> dict[str, str]:
    return {"MATCHKA_MODELS_DIR": str(folder / "models"), "MATCHKA_DATA_DIR": str(folder / "data"), **more}


def rebuild(environment: dict[str, str], *options: str) -> Result:
    return CliRunner(env={**environment, "COLUMNS": "200"}).invoke(app, ["gallery", "rebuild", *options])


@needs_milvus
@pytest.mark.slow
def test_rebuild_fills_what_was_lost_and_removes_galleries_of_other_bundles(
    tmp_path: Path, server: LiteServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("matchka.cli.gallery.gallery_rebuild.GRACE_S", 0.0)
    write_bundle(tmp_path / "models" / "voice")
    write_bundle(tmp_path / "models" / "face", "face")
    milvus = {"MATCHKA_GALLERY": "milvus", "MATCHKA_MILVUS__URI": server.uri}
    environment = variables(tmp_path, MATCHKA_MILVUS__TIMEOUT_S=str(TIMEOUT_S), **milvus)
    with opened_verifier(read_settings(environment)) as verifier:
        verifier.load()
        for person in range(3):
            verifier.enroll("default", "voice", f"p{person}", [sample(person, 0)])
        gallery = verifier._galleries.of("default", verifier.models.current("voice"))
        for hit in gallery.search(verifier._store.reference("default", "p0", "voice", "1.0.0").embedding, 8, 5):
            gallery.remove(hit.subject_key)  # as a server that has lost its disk
        assert len(gallery) == 0
    (tmp_path / "models" / "face" / "manifest.json").rename(tmp_path / "manifest.json")
    done = rebuild(environment, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["references"], report["others_removed"]) == (3, 1)
    with opened_verifier(read_settings(environment)) as verifier:
        verifier.load()
        assert verifier.following.filled == 0
        found = verifier.identify("default", "voice", sample(1, 1), 5, None, 1e-2)
        assert (found.candidates[0].subject_id, found.gallery_size) == ("p1", 3)
    assert "3 references" in rebuild(environment).stdout


def test_rebuild_of_galleries_in_memory_is_refused(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    (tmp_path / "data").mkdir()
    done = rebuild(variables(tmp_path))
    assert done.exit_code != 0
    assert "MATCHKA_GALLERY=faiss" in done.stderr
