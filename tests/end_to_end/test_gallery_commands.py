"""`matchka gallery` beside a real server process: every command, on real voices and faces."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from matchka.cli.main import app
from matchka.client.answers import IdentifyAnswer, VerifyAnswer
from tests.factories.server_process import RunningServer, StartServer, stop


class Gallery:
    """The command line on one data folder."""

    def __init__(self, models_dir: Path, data_dir: Path, url: str) -> None:
        unset = {name: None for name in os.environ if name.startswith("MATCHKA_")}
        self._environment = unset | {
            "MATCHKA_MODELS_DIR": str(models_dir),
            "MATCHKA_DATA_DIR": str(data_dir),
            "MATCHKA_URL": url,
        }

    def run(self, *arguments: object, code: int = 0) -> Result:
        done = CliRunner().invoke(app, ["gallery", *map(str, arguments)], env=self._environment)
        assert done.exit_code == code, (done.output, done.exception)
        return done

    def json(self, *arguments: object, code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(*arguments, "--json", code=code).stdout)
        return found


@pytest.fixture
def serving(start_server: StartServer, voice_samples: Path, face_samples: Path, tmp_path: Path) -> RunningServer:
    """A server with `ada`, a voice and a face, and `bob`, a voice."""
    server = start_server(tmp_path / "data")
    client = server.client()
    client.enroll("ada", list(sorted((voice_samples / "librivox").glob("*.wav"))[:3]))
    client.enroll("ada", [face_samples / "obama" / "obama.jpg"], "face")
    client.enroll("bob", list(sorted((voice_samples / "cards").glob("*.wav"))[:2]))
    return server


def test_backup_of_a_serving_store_restored_on_a_fresh_machine_answers_alike(
    serving: RunningServer, start_server: StartServer, models_dir: Path, voice_samples: Path, tmp_path: Path
) -> None:
    gallery = Gallery(models_dir, serving.data_dir, serving.url)
    probe = sorted((voice_samples / "librivox").glob("*.wav"))[3]
    before = answers_about(probe, serving)
    (tmp_path / "backups").mkdir()
    made = gallery.json("backup", tmp_path / "backups")
    assert (made["subjects"], made["templates"]) == (2, 6)
    backup = Path(str(made["file"]))
    assert backup.parent == tmp_path / "backups"
    assert gallery.json("verify")["service_compared"] is True
    assert "a service" not in gallery.run("verify").stdout

    fresh = Gallery(models_dir, tmp_path / "fresh", serving.url)
    assert fresh.json("restore", backup)["templates"] == 6
    second = start_server(tmp_path / "fresh")
    assert answers_about(probe, second) == before
    stop(second.process)


def answers_about(probe: Path, server: RunningServer) -> tuple[VerifyAnswer, IdentifyAnswer]:
    """What a service answers about a probe, but for its store's own position."""
    found = server.client().identify(probe)
    return server.client().verify("ada", probe), found.model_copy(update={"position": None})


def test_restore_keeps_out_what_was_deleted_and_is_refused_while_a_service_runs(
    serving: RunningServer, start_server: StartServer, models_dir: Path, voice_samples: Path, tmp_path: Path
) -> None:
    gallery = Gallery(models_dir, serving.data_dir, serving.url)
    backup = tmp_path / "a.backup"
    gallery.run("backup", backup)
    assert "a file of this name" in gallery.run("backup", backup, code=2).stderr
    serving.client().delete_subject("bob")
    gallery.run("deletions", tmp_path / "deletions.jsonl")
    assert "bob" not in (tmp_path / "deletions.jsonl").read_text()
    assert "owns the data folder" in gallery.run("restore", backup, "--replace", code=2).stderr
    stop(serving.process)
    assert "Say --replace" in gallery.run("restore", backup, code=2).stderr
    report = gallery.json("restore", backup, "--replace")
    assert (report["subjects"], report["kept_out"]) == (1, 2)

    elsewhere = Gallery(models_dir, tmp_path / "elsewhere", serving.url)
    report = elsewhere.json("restore", backup, "--deletions", tmp_path / "deletions.jsonl")
    assert (report["subjects"], report["kept_out"], report["deletions"]) == (1, 2, 2)

    again = start_server(serving.data_dir)
    assert [s.subject_id for s in again.client().subjects().subjects] == ["ada"]
    probe = sorted((voice_samples / "cards").glob("*.wav"))[3]
    assert [c.subject_id for c in again.client().identify(probe).candidates] == ["ada"]
    stop(again.process)
    said = gallery.run("restore", backup, "--replace", "--resurrect").stdout
    assert "2 templates that had been deleted are back" in said
    assert gallery.json("verify")["sound"] is True


def test_export_taken_into_another_store_answers_alike(
    serving: RunningServer, start_server: StartServer, models_dir: Path, voice_samples: Path, tmp_path: Path
) -> None:
    gallery = Gallery(models_dir, serving.data_dir, serving.url)
    export = tmp_path / "voices.export"
    assert gallery.json("export", export, "--model", "voice")["templates"] == 5
    other = Gallery(models_dir, tmp_path / "other", serving.url)
    assert other.json("import", export)["subjects"] == 2
    assert other.json("import", export)["present"] == 2  # as when it is finished after an interruption
    assert other.json("import", export, "--existing", "skip")["skipped"] == 2
    assert other.json("import", export, "--existing", "replace")["replaced"] == 2
    assert "no bundle" in Gallery(tmp_path, tmp_path / "third", serving.url).run("import", export, code=2).stderr
    assert "owns the data folder" in gallery.run("import", export, code=2).stderr
    probe = sorted((voice_samples / "librivox").glob("*.wav"))[3]
    before = serving.client().verify("ada", probe)
    second = start_server(tmp_path / "other")
    assert second.client().verify("ada", probe) == before
    stop(second.process)


def test_backup_into_a_folder_writes_a_file_named_by_the_time(
    serving: RunningServer, models_dir: Path, tmp_path: Path
) -> None:
    gallery = Gallery(models_dir, serving.data_dir, serving.url)
    folder = tmp_path / "new" / "backups"
    first = Path(gallery.run("backup", f"{folder}/").stdout.split(":")[0])
    assert list(folder.iterdir()) == [first]
    assert folder.stat().st_mode & 0o077 == 0
    existing = tmp_path / "existing"
    existing.mkdir()
    second = Path(gallery.json("backup", existing)["file"])
    assert list(existing.iterdir()) == [second]
    assert gallery.json("backup", tmp_path / "a.backup")["file"] == str(tmp_path / "a.backup")
    assert "cannot be made" in gallery.run("backup", f"{tmp_path}/a.backup/", code=2).stderr
    missing = Gallery(models_dir, tmp_path / "missing", serving.url)
    assert "Name a file in it." in missing.run("restore", existing, code=2).stderr
    assert "no database" in missing.run("backup", f"{tmp_path}/none/", code=2).stderr
    assert not (tmp_path / "none").exists()


def test_status_and_verify_say_what_is_there(serving: RunningServer, models_dir: Path, tmp_path: Path) -> None:
    gallery = Gallery(models_dir, serving.data_dir, serving.url)
    status = gallery.json("status")
    held = {(h["model"], h["subjects"], h["templates"], h["current"]) for h in status["holdings"]}
    assert held == {("voice", 2, 5, True), ("face", 1, 1, True)}
    assert status["subjects_to_reenroll"] == {}
    assert "voice" in gallery.run("status").stdout
    assert "There is no database" in Gallery(models_dir, tmp_path / "no", serving.url).run("status", code=2).stderr
    assert "owns the data folder" in gallery.run("prune", "voice", code=2).stderr
    stop(serving.process)

    shutil.copytree(serving.data_dir, tmp_path / "damaged")
    damaged = Gallery(models_dir, tmp_path / "damaged", serving.url)
    content = (tmp_path / "damaged" / "matchka.sqlite").read_bytes()
    at = content.index(b"1.0.0+", 4096)
    (tmp_path / "damaged" / "matchka.sqlite").write_bytes(content[:at] + b"9.9.9+" + content[at + 6 :])
    assert "things are wrong" in damaged.run("verify", code=1).stdout
    assert damaged.json("verify", code=1)["sound"] is False
    assert gallery.json("verify") == {
        "sound": True,
        "subjects": 2,
        "templates": 6,
        "references": 3,
        "service_compared": False,
        "findings": [],
    }

    assert gallery.json("prune", "voice") == {"model": "voice", "current": voice_version(models_dir), "removed": 0}
    assert "no bundle of this name" in gallery.run("prune", "iris", code=2).stderr
    assert gallery.json("status")["templates"] == 6


def voice_version(models_dir: Path) -> object:
    return json.loads((models_dir / "voice" / "manifest.json").read_text())["version"]
