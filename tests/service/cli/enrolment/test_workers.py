"""Workers: all subjects once, the first failure told after the others have ended, and nothing begun after a stop."""

import signal
import threading
from collections.abc import Iterator, Sequence

import pytest

from matchka.cli.enrolment.errors import OutcomeFileError
from matchka.cli.enrolment.outcomes import Outcome, Status, outcome_of
from matchka.cli.enrolment.people_file import Row
from matchka.cli.enrolment.workers import interruptible, outcomes_of
from matchka.errors import ServiceUnreachableError

BOUND_S = 60
SUBJECTS = [[Row(2 * n + take, f"s{n}", "voice", f"{n}-{take}") for take in range(n % 3 + 1)] for n in range(40)]


def enrolled(rows: Sequence[Row]) -> Iterator[list[Outcome]]:
    for row in rows:
        yield [outcome_of(row, Status.ENROLLED)]


@pytest.mark.parametrize("jobs", [1, 4, 64])
def test_each_row_has_its_outcome_once(jobs: int):
    with outcomes_of(SUBJECTS, enrolled, jobs, threading.Event()) as outcomes:
        found = [one.file for told in outcomes for one in told]
    assert sorted(found) == sorted(row.file for rows in SUBJECTS for row in rows)


def test_jobs_are_done_at_once():
    together = threading.Barrier(4)

    def enrol(rows: Sequence[Row]) -> Iterator[list[Outcome]]:
        together.wait(BOUND_S)  # broken where fewer come
        yield from enrolled(rows)

    with outcomes_of(SUBJECTS[:4], enrol, 4, threading.Event()) as outcomes:
        assert len(list(outcomes)) == sum(map(len, SUBJECTS[:4]))


def test_failure_of_a_worker_is_raised_after_what_the_others_had_under_way_is_told():
    failing, goes_on = threading.Event(), threading.Event()

    def enrol(rows: Sequence[Row]) -> Iterator[list[Outcome]]:
        if rows is SUBJECTS[0]:
            failing.set()
            assert goes_on.wait(BOUND_S)
            yield from enrolled(rows)
        else:
            assert failing.wait(BOUND_S)
            try:
                raise ServiceUnreachableError("gone", remedy="start it")
            finally:
                goes_on.set()

    with outcomes_of(SUBJECTS, enrol, 2, threading.Event()) as found:
        assert [one.subject_id for one in next(found)] == ["s0"]
        with pytest.raises(ServiceUnreachableError):
            next(found)


def test_failure_of_who_reads_the_outcomes_stops_the_workers_after_what_is_under_way():
    stop, began, ended = threading.Event(), threading.Event(), list[str]()

    def enrol(rows: Sequence[Row]) -> Iterator[list[Outcome]]:
        if rows is not SUBJECTS[0]:
            began.set()
            assert stop.wait(BOUND_S)
            ended.append(rows[0].subject_id)
        yield from enrolled(rows)

    def read() -> None:
        with outcomes_of(SUBJECTS, enrol, 1, stop) as outcomes:
            next(outcomes)
            assert began.wait(BOUND_S)
            raise OutcomeFileError("full", remedy="make room")

    with pytest.raises(OutcomeFileError):
        read()
    assert ended == ["s1"]


def test_first_signal_after_a_worker_failed_does_not_end_the_run_at_once():
    stop, said = threading.Event(), list[str]()
    with interruptible(stop, said.append):
        stop.set()  # as a worker does that fails
        signal.raise_signal(signal.SIGTERM)
        assert len(said) == 1
        with pytest.raises(SystemExit):
            signal.raise_signal(signal.SIGTERM)


def test_first_signal_lets_the_run_finish_and_the_second_ends_it():
    stop, said = threading.Event(), list[str]()
    before = signal.getsignal(signal.SIGTERM)
    with interruptible(stop, said.append):
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        assert "finishing" in said[0]
        with outcomes_of(SUBJECTS, enrolled, 2, stop) as outcomes:
            assert list(outcomes) == []
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(signal.SIGINT)
    assert ended.value.code == 130
    assert signal.getsignal(signal.SIGTERM) is before
