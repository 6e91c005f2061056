import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from matchka.store.audit.chain import Link
from matchka.store.audit.checkpoint import CheckpointFile
from matchka.store.audit.records import Event, Outcome
from matchka.store.audit.writer import AuditWriter, writing_audit
from matchka.store.subject_hash import SubjectHasher
from tests.factories.audit_logs import EVENTS, START, LogFile

KEEP_DAYS = 36_500.0

Until = Callable[[Callable[[], bool]], None]


def outcomes(log: LogFile) -> list[tuple[str, int]]:
    return [(row[0], row[1]) for row in log.rows("SELECT outcome, count FROM audit_log ORDER BY sequence")]


def test_what_is_submitted_is_written_in_order_and_checkpointed_without_a_close(empty: LogFile, until: Until):
    with writing_audit(empty.log, empty.checkpoint.path, KEEP_DAYS) as writer:
        for event in EVENTS:
            writer.submit(event)
        until(lambda: writer.counts().written == 10)
        until(lambda: (found := empty.checkpoint.read()) is not None and found.place.sequence == 10)
        assert empty.rows("SELECT request_id FROM audit_log ORDER BY sequence") == [(e.request_id,) for e in EVENTS]
        assert empty.flaws() == []


def test_close_writes_what_waits_and_what_was_counted(empty: LogFile):
    refused = Event(Outcome.REFUSED, "POST /v1/verify", detail="unauthorized", network="10.0.0.5")
    with writing_audit(empty.log, empty.checkpoint.path, KEEP_DAYS) as writer:
        for _ in range(10_000):
            writer.submit(refused)
    assert outcomes(empty) == [("refused", 1), ("refused", 9_999)]
    assert writer.counts().lost == 0
    assert empty.flaws() == []


def test_checkpoint_follows_what_changes_record_in_their_own_transactions(ten: LogFile, until: Until):
    ten.checkpoint.write(Link(7, ten.rows("SELECT hash FROM audit_log WHERE sequence = 7")[0][0]))
    with writing_audit(ten.log, ten.checkpoint.path, KEEP_DAYS):
        until(lambda: (found := ten.checkpoint.read()) is not None and found.place.sequence == 10)
    assert ten.flaws() == []
    assert len(outcomes(ten)) == 10


def test_log_that_was_cut_before_the_start_says_so_itself_for_good(ten: LogFile, caplog: pytest.LogCaptureFixture):
    (last,) = ten.rows("SELECT hash FROM audit_log WHERE sequence = 7")[0]
    ten.change("DELETE FROM audit_log WHERE sequence > 7", f"UPDATE audit_head SET sequence = 7, hash = '{last}'")
    with caplog.at_level(logging.CRITICAL), writing_audit(ten.log, ten.checkpoint.path, KEEP_DAYS) as writer:
        writer.submit(EVENTS[0])
    assert "named record 10" in caplog.text
    assert outcomes(ten)[7:] == [("broken", 1), ("match", 1)]
    ((sequence, what),) = ten.flaws()
    assert sequence == 8
    assert "the checkpoint named record 10" in what


def test_log_that_is_changed_while_the_service_runs_says_so(ten: LogFile, until: Until):
    with writing_audit(ten.log, ten.checkpoint.path, KEEP_DAYS):
        until(lambda: ten.checkpoint.read() is not None)
        ten.change("DELETE FROM audit_log", f"UPDATE audit_head SET sequence = 0, hash = '{'0' * 64}'")
        until(lambda: outcomes(ten) == [("broken", 1)])
    assert [sequence for sequence, _ in ten.flaws()] == [1]


@pytest.mark.parametrize("hash_of_7", [True, False])
def test_head_that_is_set_back_does_not_take_the_checkpoint_with_it(ten: LogFile, until: Until, hash_of_7: bool):
    """Else records could be cut off unnoticed behind a checkpoint that had followed the head to where it was set."""
    (last,) = ten.rows("SELECT hash FROM audit_log WHERE sequence = 7")[0]
    with writing_audit(ten.log, ten.checkpoint.path, KEEP_DAYS):
        ten.change(f"UPDATE audit_head SET sequence = 7, hash = '{last if hash_of_7 else 'zz'}'")
        until(lambda: ("broken", 1) in outcomes(ten))
        until(lambda: (found := ten.checkpoint.read()) is not None and found.place.sequence == 11)
    assert [sequence for sequence, _ in ten.flaws()] == [11]
    assert ten.verified().records == 11


def test_checkpoint_does_not_follow_a_head_that_says_more_was_pruned_than_was(ten: LogFile, until: Until):
    (first,) = ten.rows("SELECT hash FROM audit_log WHERE sequence = 1")[0]
    with writing_audit(ten.log, ten.checkpoint.path, KEEP_DAYS):
        ten.change(
            "DELETE FROM audit_log WHERE sequence > 1",
            f"UPDATE audit_head SET sequence = 1, hash = '{first}', pruned_sequence = 20",
        )
        until(lambda: ("broken", 1) in outcomes(ten))
        ten.change(f"UPDATE audit_head SET pruned_sequence = 0, pruned_hash = '{'0' * 64}'")
    assert "the checkpoint named record 10" in ten.flaws()[-1][1]


def test_record_whose_time_is_none_does_not_end_the_writing_of_others(ten: LogFile, caplog: pytest.LogCaptureFixture):
    ten.change("UPDATE audit_log SET at = 'never' WHERE sequence = 1")
    with writing_audit(ten.log, ten.checkpoint.path, KEEP_DAYS) as writer:  # which looks for what is old at its start
        writer.submit(EVENTS[0])
    assert len(outcomes(ten)) == 11
    assert "A record of the audit log cannot be read" in caplog.text


def test_log_without_its_checkpoint_goes_on_and_says_so(ten: LogFile):
    ten.checkpoint.path.unlink()
    with writing_audit(ten.log, ten.checkpoint.path, KEEP_DAYS):
        pass
    report = ten.verified()
    assert (report.flaws, report.last) == ((), 11)
    assert "there was no checkpoint at a start behind record 10" in report.notices[0]


def test_new_log_has_nothing_to_say_of_its_checkpoint(empty: LogFile):
    with writing_audit(empty.log, empty.checkpoint.path, KEEP_DAYS):
        pass
    assert empty.verified().notices == ()
    assert outcomes(empty) == []


def test_checkpoint_of_another_key_at_a_start_is_recorded(ten: LogFile):
    CheckpointFile(ten.checkpoint.path, SubjectHasher(bytes(32))).write(Link(10, "0" * 64))
    with writing_audit(ten.log, ten.checkpoint.path, KEEP_DAYS):
        pass
    assert [sequence for sequence, _ in ten.flaws()] == [11]


def test_checkpoint_of_a_record_that_was_pruned_since_is_no_flaw(ten: LogFile, until: Until):
    before = ten.checkpoint.path.read_bytes()
    ten.append(EVENTS, START + timedelta(days=10))
    with writing_audit(ten.log, ten.checkpoint.path, 0.0):  # everything is older than no day
        until(lambda: ten.verified().pruned >= 20)
    ten.checkpoint.path.write_bytes(before)
    assert ten.flaws() == []
    with writing_audit(ten.log, ten.checkpoint.path, KEEP_DAYS):
        pass
    assert ten.flaws() == []


def test_old_records_are_pruned_at_the_start(ten: LogFile, until: Until):
    with writing_audit(ten.log, ten.checkpoint.path, 30.0):
        until(lambda: outcomes(ten) == [("pruned", 10)])
    assert ten.verified().pruned == 10
    assert ten.flaws() == []


def test_database_that_cannot_be_written_is_reported_once_and_losses_are_counted(
    empty: LogFile, until: Until, caplog: pytest.LogCaptureFixture
):
    empty.change("ALTER TABLE audit_log RENAME TO elsewhere")
    with closing(AuditWriter(empty.log, empty.checkpoint, KEEP_DAYS, most_waiting=50)) as writer:
        for _ in range(57):
            writer.submit(EVENTS[0])
        assert writer.counts().lost == 7
        until(lambda: "cannot be written" in caplog.text)
        empty.change("ALTER TABLE elsewhere RENAME TO audit_log")
        until(lambda: writer.counts().written == 50)
        until(lambda: "is written again" in caplog.text)
    assert caplog.text.count("cannot be written") == 1
    assert writer.counts().lost == 7
    assert empty.verified().records == 50


def test_what_cannot_be_written_at_the_close_is_counted_as_lost(empty: LogFile):
    empty.change("ALTER TABLE audit_log RENAME TO elsewhere")
    writer = AuditWriter(empty.log, empty.checkpoint, KEEP_DAYS)
    writer.submit(EVENTS[0])
    writer.close()
    assert (writer.counts().written, writer.counts().lost) == (0, 1)


KILLED = """
import os, signal, sys
from pathlib import Path
from matchka.store.audit.checkpoint import CheckpointFile
from matchka.store.audit.writer import AuditWriter
from tests.factories.audit_logs import EVENTS, LogFile

log = LogFile(Path(sys.argv[1]))
CheckpointFile.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # between the commit and the checkpoint
writer = AuditWriter(log.log, log.checkpoint, 36_500.0)
for event in EVENTS:
    writer.submit(event)
writer.close()
"""


def test_process_killed_between_commit_and_checkpoint_goes_on_without_a_flaw(ten: LogFile, tmp_path: Path):
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )
    assert ended.returncode == -signal.SIGKILL
    report = ten.verified()
    assert (report.records, report.flaws) == (20, ())
    with writing_audit(ten.log, ten.checkpoint.path, KEEP_DAYS):
        pass
    assert (ten.verified().records, ten.flaws()) == (20, [])
