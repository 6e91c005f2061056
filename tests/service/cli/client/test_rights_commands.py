"""`matchka subjects export | set | delete --receipt` and `matchka receipt verify`."""

import json
from pathlib import Path

import pytest

from matchka.cli.security.receipt_commands import FALSE
from tests.factories.command_line import run
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer

ERROR = 2


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    path.write_bytes(sample(1))
    return path


def test_terms_are_given_shown_changed_and_removed(small_server: SmallServer, clip: Path):
    given = ["--consent", "form 7", "--purpose", "doors", "--expires-at", "2090-01-01T00:00:00Z"]
    done = run(small_server, "enroll", "terms", clip, *given)
    assert done.exit_code == 0, done.output
    shown = run(small_server, "subjects", "show", "terms").output
    assert all(text in shown for text in ("form 7", "doors", "2090-01-01"))
    changes = ["--consent", "", "--expires-at", "never", "--note", "badge=7", "--note", "team=a=b"]
    done = run(small_server, "subjects", "set", "terms", *changes)
    assert done.exit_code == 0, done.output
    answer = json.loads(run(small_server, "subjects", "show", "terms", "--json").stdout)
    found = {name: answer[name] for name in ("consent", "purpose", "expires_at", "metadata")}
    assert found == {
        "consent": None,
        "purpose": "doors",
        "expires_at": None,
        "metadata": {"badge": "7", "team": "a=b"},
    }
    assert run(small_server, "subjects", "set", "terms", "--note", "nameless").exit_code == ERROR
    assert run(small_server, "subjects", "set", "terms", "--expires-at", "tomorrow").exit_code == ERROR


def test_export_is_json_that_nobody_else_may_read(small_server: SmallServer, clip: Path, tmp_path: Path):
    run(small_server, "enroll", "exported", clip)
    target = tmp_path / "ada.json"
    assert run(small_server, "subjects", "export", "exported", target).exit_code == 0
    assert target.stat().st_mode & 0o077 == 0
    printed = json.loads(run(small_server, "subjects", "export", "exported").stdout)
    written = json.loads(target.read_text())
    assert printed["templates"] == written["templates"]
    assert len(written["templates"][0]["embedding"]) == 8
    assert run(small_server, "subjects", "export", "nobody").exit_code == ERROR
    assert run(small_server, "subjects", "export", "exported", tmp_path / "no" / "folder").exit_code == ERROR


def test_receipt_of_a_deletion_is_true_until_it_is_changed(small_server: SmallServer, clip: Path, tmp_path: Path):
    run(small_server, "enroll", "receipted", clip)
    elsewhere = tmp_path / "no" / "folder"
    assert run(small_server, "subjects", "delete", "receipted", "--receipt", elsewhere).exit_code == ERROR
    assert run(small_server, "subjects", "show", "receipted").exit_code == 0  # it is still there
    receipt = tmp_path / "receipt.json"
    assert run(small_server, "subjects", "delete", "receipted", "--receipt", receipt).exit_code == 0
    assert run(small_server, "subjects", "show", "receipted").exit_code == ERROR
    done = run(small_server, "receipt", "verify", receipt)
    assert done.exit_code == 0, done.output
    assert "1 templates" in done.output

    data = {"MATCHKA_DATA_DIR": str(small_server.settings.data_dir)}
    assert run(small_server, "receipt", "verify", receipt, "--subject", "receipted", **data).exit_code == 0
    assert run(small_server, "receipt", "verify", receipt, "--subject", "another", **data).exit_code == FALSE
    other = {"MATCHKA_DATA_DIR": str(tmp_path / "other")}
    assert run(small_server, "receipt", "verify", receipt, "--subject", "receipted", **other).exit_code == FALSE
    assert not (tmp_path / "other").exists()  # no key was made there

    fields = json.loads(receipt.read_text())
    key = ["--public-key", fields["public_key"]]
    assert run(small_server, "receipt", "verify", receipt, *key, MATCHKA_URL="http://127.0.0.1:9").exit_code == 0
    assert run(small_server, "receipt", "verify", receipt, "--public-key", "A" * 43 + "=").exit_code == FALSE
    receipt.write_text(receipt.read_text().replace('"templates":1', '"templates":2'))
    assert run(small_server, "receipt", "verify", receipt).exit_code == FALSE
    assert run(small_server, "receipt", "verify", tmp_path / "missing").exit_code == ERROR


def test_deletion_without_a_receipt_says_nothing(small_server: SmallServer, clip: Path):
    run(small_server, "enroll", "silently", clip)
    done = run(small_server, "subjects", "delete", "silently")
    assert (done.exit_code, done.output) == (0, "")
