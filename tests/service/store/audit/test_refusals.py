import math

from matchka.store.audit.records import Event, Outcome
from matchka.store.audit.refusals import MOST_KINDS, OTHERS, RefusalCounts


def refused(number: int = 0, subject: str | None = None, network: str = "10.0.0.5") -> Event:
    return Event(
        Outcome.REFUSED,
        "POST /v1/verify",
        subject_id=subject,
        detail="unauthorized",
        network=network,
        request_id=f"{number:032x}",
    )


def test_ten_thousand_wrong_keys_of_one_address_in_a_minute_are_two_records():
    counts = RefusalCounts()
    at_once = [event for n in range(10_000) if (event := counts.take(refused(n), n / 200)) is not None]
    assert at_once == [refused(0)]
    assert list(counts.ended(59.9)) == []
    (rest,) = counts.ended(60.0)
    assert (rest.count, rest.network, rest.request_id, rest.detail) == (9_999, "10.0.0.5", None, "unauthorized")
    assert list(counts.ended(math.inf)) == []


def test_one_refusal_in_a_minute_is_one_record():
    counts = RefusalCounts()
    assert counts.take(refused(), 0.0) == refused()
    assert list(counts.ended(math.inf)) == []


def test_refusals_of_the_next_minute_are_recorded_again():
    counts = RefusalCounts()
    assert counts.take(refused(1), 0.0) is not None
    assert list(counts.ended(61.0)) == []
    assert counts.take(refused(2), 61.0) == refused(2)


def test_refusals_of_different_subjects_and_addresses_are_told_apart():
    counts = RefusalCounts()
    kinds = [refused(), refused(subject="a"), refused(subject="b"), refused(network="10.0.0.6")]
    assert [counts.take(kind, 0.0) for kind in kinds] == kinds


def test_kinds_beyond_the_most_are_one_that_names_nobody():
    counts = RefusalCounts()
    every = [counts.take(refused(n, subject=str(n)), 0.0) for n in range(MOST_KINDS + 500)]
    recorded = [event for event in every if event is not None]
    assert len(recorded) == MOST_KINDS + 1
    assert recorded[-1] == Event(Outcome.REFUSED, OTHERS, detail="unauthorized")
    assert [event.count for event in counts.ended(math.inf)] == [499]
