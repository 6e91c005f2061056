import hashlib
import json
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from matchka.errors import StorageDamagedError
from matchka.store.audit.chain import Link
from matchka.store.audit.checkpoint import CheckpointFile
from matchka.store.audit.log import PRUNED_AT_ONCE
from matchka.store.audit.records import Event, Outcome
from matchka.store.subject_hash import SubjectHasher
from tests.factories.audit_logs import EVENTS, START, LogFile

HEAD = "UPDATE audit_head SET"


def test_log_as_it_was_written_has_no_flaw(ten: LogFile):
    report = ten.verified()
    assert (report.records, report.last, report.pruned, report.flaw_count, report.flaws) == (10, 10, 0, 0, ())


def test_hashes_are_the_documented_chain_of_what_the_table_holds(ten: LogFile):
    before = bytes(32)
    columns = "sequence, at, outcome, call, tenant, key_id, subject, model, version, threshold, detail, network, "
    for row in ten.rows(f"SELECT {columns} request_id, count, hash FROM audit_log ORDER BY sequence"):
        *fields, stored = row
        fields[1] = f"{fields[1].replace(' ', 'T')}Z"
        before = hashlib.sha256(before + json.dumps(fields, separators=(",", ":")).encode()).digest()
        assert before.hex() == stored
    assert ten.rows("SELECT sequence, hash FROM audit_head") == [(10, before.hex())]


def test_names_of_subjects_are_in_no_file(ten: LogFile):
    hashed = SubjectHasher(bytes(range(32))).hash_of("other", "subject-3")
    assert ten.rows("SELECT subject FROM audit_log WHERE sequence = 3") == [(hashed,)]
    ten.engine.dispose()
    assert not [one for one in ten.path.parent.iterdir() if b"subject-3" in one.read_bytes()]


@pytest.mark.parametrize(
    "change",
    [
        "outcome = 'match'",
        "at = '2026-01-02 03:04:09.678901'",
        "tenant = NULL",
        "subject = NULL",
        "threshold = threshold + 1e-15",
        "count = 2",
        "request_id = ''",
        "hash = '" + "0" * 64 + "'",
    ],
)
def test_changed_record_is_found_where_it_is(ten: LogFile, change: str):
    ten.change(f"UPDATE audit_log SET {change} WHERE sequence = 4")
    found = ten.flaws()
    assert found[0] == (4, "the record, or its place, is not what was written")
    assert [sequence for sequence, _ in found] in ([4], [4, 5])  # the latter where its hash was changed


def test_two_records_that_changed_places_are_found(ten: LogFile):
    ten.change(
        "UPDATE audit_log SET sequence = 99 WHERE sequence = 4",
        "UPDATE audit_log SET sequence = 4 WHERE sequence = 7",
        "UPDATE audit_log SET sequence = 7 WHERE sequence = 99",
    )
    assert {4, 7} <= {sequence for sequence, _ in ten.flaws()}


@pytest.mark.parametrize(("gone", "what"), [("5", "record 5 is"), ("4, 5, 6", "records 4 to 6 are")])
def test_records_removed_in_the_middle_are_named(ten: LogFile, gone: str, what: str):
    ten.change(f"DELETE FROM audit_log WHERE sequence IN ({gone})")
    (found,) = ten.flaws()
    assert found == (int(gone[-1]) + 1, f"{what} missing before it")


def test_records_cut_off_at_the_end_are_found_by_the_checkpoint(ten: LogFile):
    (last,) = ten.rows("SELECT hash FROM audit_log WHERE sequence = 7")[0]
    ten.change("DELETE FROM audit_log WHERE sequence > 7", f"{HEAD} sequence = 7, hash = '{last}'")
    assert ten.flaws() == [(10, "the log was cut off: records 8 to 10 were there at the checkpoint")]


def test_records_cut_off_at_the_end_are_found_by_the_head(ten: LogFile):
    ten.change("DELETE FROM audit_log WHERE sequence > 7")
    assert ten.flaws()[0] == (7, "the log ends here, and its head says that it ends at record 10")


def test_records_removed_at_the_beginning_are_found(ten: LogFile):
    ten.change("DELETE FROM audit_log WHERE sequence < 4")
    assert ten.flaws() == [(4, "records 1 to 3 are missing before it")]


def test_beginning_said_to_be_pruned_that_was_not_is_found(ten: LogFile):
    (last,) = ten.rows("SELECT hash FROM audit_log WHERE sequence = 3")[0]
    ten.change("DELETE FROM audit_log WHERE sequence < 4", f"{HEAD} pruned_sequence = 3, pruned_hash = '{last}'")
    assert ten.flaws() == [(3, "the log begins behind this record, and says itself that it was pruned to 0")]


@pytest.mark.parametrize("signature", ["", f" {'0' * 64}"])
def test_beginning_cut_off_behind_a_forged_record_of_a_pruning_is_found(ten: LogFile, signature: str):
    (last,) = ten.rows("SELECT hash FROM audit_log WHERE sequence = 3")[0]
    ten.append([Event(Outcome.PRUNED, "audit", detail=f"3 {last}{signature}", count=3)])  # whoever writes can do so
    ten.change("DELETE FROM audit_log WHERE sequence < 4", f"{HEAD} pruned_sequence = 3, pruned_hash = '{last}'")
    assert ten.flaws() == [
        (11, "this pruning has not the signature of the key at hand"),
        (3, "the log begins behind this record, and says itself that it was pruned to 0"),
    ]


@pytest.mark.parametrize("value", ["''", "'zz'", "x'00ff'", "7"])
def test_hash_that_is_none_is_found_where_it_is(ten: LogFile, value: str):
    ten.change(f"UPDATE audit_log SET hash = {value} WHERE sequence = 4")
    assert [sequence for sequence, _ in ten.flaws()] == [4, 5]


@pytest.mark.parametrize("field", ["outcome", "detail", "subject", "threshold", "count"])
def test_field_of_another_kind_is_found_where_it_is(ten: LogFile, field: str):
    ten.change(f"UPDATE audit_log SET {field} = x'00ff' WHERE sequence = 4")
    assert [sequence for sequence, _ in ten.flaws()] == [4]


def test_head_whose_hash_is_none_is_found_and_named_by_who_appends(ten: LogFile):
    ten.change(f"{HEAD} hash = 'zz'")
    assert ten.flaws() == [(10, "the log ends here, and its head says that it ends at record 10")]
    with pytest.raises(StorageDamagedError, match="head of the audit log was changed"):
        ten.append(EVENTS[:1])


def test_chain_made_anew_is_found_by_the_checkpoint(ten: LogFile):
    ten.change("DELETE FROM audit_log", f"{HEAD} sequence = 0, hash = '{'0' * 64}'")
    before = ten.checkpoint.path.read_bytes()
    ten.append([*EVENTS[:4], EVENTS[3], *EVENTS[5:]])
    ten.checkpoint.path.write_bytes(before)
    assert ten.flaws() == [(10, "the log up to this record is another one than at the checkpoint")]


def test_everything_removed_is_found(ten: LogFile):
    ten.change("DELETE FROM audit_log", f"{HEAD} sequence = 0, hash = '{'0' * 64}'")
    assert ten.flaws() == [(10, "the log was cut off: records 1 to 10 were there at the checkpoint")]


def test_missing_row_of_the_head_is_found_and_the_log_goes_on(ten: LogFile):
    ten.change("DELETE FROM audit_head")
    assert ten.flaws() == [(10, "the row of the log's head is missing")]
    ten.append(EVENTS[:1])
    assert ten.verified().last == 11
    assert ten.flaws() == []


@pytest.mark.parametrize("time", ["", "yesterday", "2026-13-01 00:00:00.000000"])
def test_record_whose_time_is_none_is_refused_as_damaged(ten: LogFile, time: str):
    ten.change(f"UPDATE audit_log SET at = '{time}' WHERE sequence = 4")
    with pytest.raises(StorageDamagedError, match="cannot be read"):
        ten.verified()


def test_missing_checkpoint_is_found(ten: LogFile):
    ten.checkpoint.path.unlink()
    ((sequence, what),) = ten.flaws()
    assert (sequence, what[:27]) == (10, "there is no checkpoint: rec")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[]", b'{"sequence": "x", "hash": "", "signature": ""}'])
def test_checkpoint_that_is_none_is_found(ten: LogFile, content: bytes):
    ten.checkpoint.path.write_bytes(content)
    assert ten.flaws() == [(10, "the checkpoint has not the signature of the key at hand")]


def test_checkpoint_cut_in_half_is_found(ten: LogFile):
    whole = ten.checkpoint.path.read_bytes()
    ten.checkpoint.path.write_bytes(whole[: len(whole) // 2])
    assert ten.flaws() == [(10, "the checkpoint has not the signature of the key at hand")]


def test_checkpoint_signed_by_another_key_is_found(ten: LogFile):
    CheckpointFile(ten.checkpoint.path, SubjectHasher(bytes(32))).write(Link(10, "0" * 64))
    assert ten.flaws() == [(10, "the checkpoint has not the signature of the key at hand")]


def test_process_killed_between_commit_and_checkpoint_leaves_a_log_without_flaw(ten: LogFile):
    before = ten.checkpoint.path.read_bytes()
    ten.append(EVENTS[:3])
    ten.checkpoint.path.write_bytes(before)
    report = ten.verified()
    assert (report.last, report.flaws) == (13, ())


def test_clock_that_jumps_back_and_forth_changes_neither_order_nor_verification(ten: LogFile):
    ten.append(EVENTS[:2], START - timedelta(days=400))
    ten.append(EVENTS[:2], START + timedelta(days=4000))
    ten.append(EVENTS[:2], START)
    assert ten.flaws() == []
    assert [record.sequence for record in ten.log.page("clinic", 100, 9)] == [10, 11, 12, 13, 14, 15, 16]


def pruned(log: LogFile, days: int) -> int:
    with Session(log.engine) as session, session.begin():
        return log.log.prune(session, START + timedelta(days=days))


def test_pruned_log_begins_behind_what_was_pruned_and_has_no_flaw(ten: LogFile):
    ten.append(EVENTS[:2], START + timedelta(days=10))
    assert pruned(ten, 5) == 10
    report = ten.verified()
    assert (report.records, report.pruned, report.last, report.flaws) == (3, 10, 13, ())
    assert ten.rows("SELECT outcome, substr(detail, 1, 3), count FROM audit_log WHERE sequence = 13") == [
        ("pruned", "10 ", 10)
    ]
    assert pruned(ten, 5) == 0


def test_log_pruned_twice_has_no_flaw_and_a_cut_behind_it_is_found(ten: LogFile):
    for days in (10, 20):
        ten.append(EVENTS, START + timedelta(days=days))
    for days in (5, 15):
        assert pruned(ten, days) == 10
        assert ten.flaws() == []
    ten.change("DELETE FROM audit_log WHERE sequence = (SELECT min(sequence) + 1 FROM audit_log)")
    assert "is missing before it" in ten.flaws()[0][1]


def test_pruning_goes_in_steps_that_others_can_wait_for(empty: LogFile):
    empty.append(EVENTS[:1] * (PRUNED_AT_ONCE + 3), START - timedelta(days=30))
    assert [pruned(empty, 0), pruned(empty, 0), pruned(empty, 0)] == [PRUNED_AT_ONCE, 3, 0]
    assert empty.flaws() == []


def test_record_from_the_future_is_not_pruned_and_keeps_those_behind_it(ten: LogFile):
    ten.append(EVENTS[:1], START + timedelta(days=4000))
    ten.append(EVENTS[:1], START)
    assert pruned(ten, 100) == 10
    assert [sequence for (sequence,) in ten.rows("SELECT sequence FROM audit_log ORDER BY sequence")] == [11, 12, 13]
