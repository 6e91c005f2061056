"""A service with a vault serves as one without; one whose vault is locked says so and serves nothing."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from matchka.api.problems import STATUS_AND_CODE
from matchka.errors import RequestFailedError, VaultLockedError
from matchka.settings import Settings
from tests.factories.bundles import write_bundle
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer, serving, small_settings
from tests.factories.vaults import VaultFolder, vault_folder

BOUND_S = 60
PROBE = {"model": "voice", "subject_id": "ada"}


@pytest.fixture
def folder(tmp_path: Path) -> VaultFolder:
    write_bundle(tmp_path / "models" / "voice")
    return vault_folder(tmp_path)


def with_vault(folder: VaultFolder, **changes: Any) -> Settings:
    return small_settings(folder.path, **{**folder.settings, **changes})


def readiness_once_loaded(running: SmallServer) -> requests.Response:
    """The answer of /readyz when it is no longer that the service is loading."""
    end = time.monotonic() + BOUND_S
    while True:
        answer = requests.get(f"{running.url}/readyz", timeout=BOUND_S)
        if answer.status_code == 200 or answer.json()["code"] != "not_ready":
            return answer
        assert time.monotonic() < end
        time.sleep(0.02)


def test_service_with_a_vault_answers_as_one_without(folder: VaultFolder):
    answers = []
    for settings in (with_vault(folder), small_settings(folder.path, data_dir=folder.path / "clear")):
        with serving(settings) as running:
            client = running.client()
            for number, name in enumerate(("ada", "bob")):
                client.enroll(name, [sample(number), sample(number + 10)])
        with serving(settings) as running:  # from what was stored
            client = running.client()
            verified = client.verify("ada", sample(10))
            named = client.identify(sample(11)).candidates
            client.delete_subject("bob")
            left = [one.subject_id for one in client.subjects().subjects]
            answers.append((verified.similarity, [(one.subject_id, one.similarity) for one in named], left))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("reason", ["lost", "another", "open to others", "none set", "key store lost"])
def test_service_whose_vault_is_locked_says_why_and_serves_nothing(folder: VaultFolder, reason: str):
    with serving(with_vault(folder)) as running:
        running.client().enroll("ada", [sample(1)])
    settings = with_vault(folder)
    if reason == "lost":
        folder.master.unlink()
    elif reason == "another":
        folder.master.write_text("ab" * 32)
    elif reason == "open to others":
        folder.master.chmod(0o644)
    elif reason == "none set":
        settings = small_settings(folder.path)
    else:
        folder.key_database.unlink()
    with serving(settings, wait=False) as running:
        ready = readiness_once_loaded(running)
        assert (ready.status_code, ready.json()["code"]) == STATUS_AND_CODE[VaultLockedError]
        assert "key" in ready.json()["detail"]
        assert str(folder.path) not in ready.text  # where the key lies is in the log alone: anybody may ask
        assert requests.get(f"{running.url}/healthz", timeout=BOUND_S).status_code == 200  # nobody restarts it in vain
        for call in (
            lambda: requests.get(f"{running.url}/v1/subjects", timeout=BOUND_S),
            lambda: requests.delete(f"{running.url}/v1/subjects/ada", timeout=BOUND_S),
            lambda: requests.post(
                f"{running.url}/v1/verify", data=PROBE, files={"file": ("a.wav", sample(1))}, timeout=BOUND_S
            ),
        ):
            assert call().json()["code"] == "vault_locked"


def test_lost_key_that_comes_back_opens_everything_again(folder: VaultFolder):
    with serving(with_vault(folder)) as running:
        running.client().enroll("ada", [sample(1)])
    shutil.move(folder.master, folder.path / "kept")
    with serving(with_vault(folder), wait=False) as running:
        assert readiness_once_loaded(running).status_code == 503
    shutil.move(folder.path / "kept", folder.master)
    with serving(with_vault(folder)) as running:
        assert running.client().verify("ada", sample(1)).match


def test_key_is_made_at_the_first_start_only_where_that_is_set(folder: VaultFolder):
    folder.master.unlink()
    with serving(with_vault(folder), wait=False) as running:
        assert readiness_once_loaded(running).json()["code"] == "vault_locked"
    assert not folder.master.exists()
    with serving(with_vault(folder, create_master_key=True)) as running:
        running.client().enroll("ada", [sample(1)])
    folder.master.unlink()
    with serving(with_vault(folder, create_master_key=True), wait=False) as running:
        assert readiness_once_loaded(running).json()["code"] == "vault_locked"
    assert not folder.master.exists()  # a key was used before: another one would open nothing


def test_subject_of_yesterdays_copy_that_was_deleted_is_unknown_and_the_others_are_served(folder: VaultFolder):
    with serving(with_vault(folder)) as running:
        for number, name in enumerate(("ada", "bob")):
            running.client().enroll(name, [sample(number)])
    shutil.copy(folder.database, folder.path / "yesterday")
    with serving(with_vault(folder)) as running:
        running.client().delete_subject("bob")
    shutil.copy(folder.path / "yesterday", folder.database)
    with serving(with_vault(folder)) as running:
        client = running.client()
        assert client.verify("ada", sample(0)).match
        with pytest.raises(RequestFailedError) as refused:
            client.verify("bob", sample(1))
        assert (refused.value.status, refused.value.code) == (404, "unknown_subject")
        assert [one.subject_id for one in client.identify(sample(1)).candidates] == ["ada"]
        client.delete_subject("bob")
        assert [one.subject_id for one in client.subjects().subjects] == ["ada"]
