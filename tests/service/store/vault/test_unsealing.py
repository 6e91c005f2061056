"""Processes that decrypt run this program's code only."""

from pathlib import Path

import pytest

from matchka.store.vault import unsealing
from matchka.store.vault.unsealing import SealedBatch

NOTHING = SealedBatch([], [], {}, {})


@pytest.fixture(autouse=True)
def processes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first batch is worth two processes."""
    monkeypatch.setattr(unsealing, "WORTH_BATCHES", 0)
    monkeypatch.setattr(unsealing, "_cores", lambda: 3)


def test_process_started_in_a_folder_with_a_module_of_a_known_name_does_not_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ran = tmp_path / "ran"
    (tmp_path / "pickle.py").write_text(
        f"from pathlib import Path\nPath({str(ran)!r}).touch()\nHIGHEST_PROTOCOL = 5\nfrom _pickle import *\n"
    )
    monkeypatch.chdir(tmp_path)
    with unsealing.unsealing() as there:
        assert there.begin(NOTHING)() == []
    assert not ran.exists()


def test_batches_are_opened_here_where_no_process_can_be_started(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(unsealing.sys, "executable", "/nowhere/python")
    with unsealing.unsealing() as here:
        assert [here.begin(NOTHING)() for _ in range(3)] == [[], [], []]
    assert caplog.text.count("could be started") == 1
