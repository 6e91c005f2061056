"""Callers without a valid key are slowed and logged, within bounds."""

import logging

import pytest

from matchka.api.guards.failed_keys import FREE, INTERVAL_S, LOG_EVERY_S, LONGEST_S, MOST_ADDRESSES, FailedKeys

ADDRESS = "192.0.2.1"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_first_refusals_of_an_address_do_not_wait_and_later_ones_go_out_one_by_one():
    failed = FailedKeys(Clock())
    assert [failed.note(ADDRESS) for _ in range(FREE)] == pytest.approx([0.0] * FREE)
    assert [failed.note(ADDRESS) for _ in range(3)] == pytest.approx([INTERVAL_S, 2 * INTERVAL_S, 3 * INTERVAL_S])
    assert failed.note("192.0.2.2") == 0.0


def test_refusal_never_waits_longer_than_the_bound():
    failed = FailedKeys(Clock())
    waits = [failed.note(ADDRESS) for _ in range(1000)]
    assert max(waits) == pytest.approx(LONGEST_S)


def test_ten_thousand_refusals_of_one_address_are_one_entry_and_one_line_of_the_log_a_minute(
    caplog: pytest.LogCaptureFixture,
):
    clock = Clock()
    failed = FailedKeys(clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(10_000):
            assert 0 <= failed.note(ADDRESS) <= LONGEST_S
            clock.now += 0.01
    assert len(failed._refused) == 1
    assert len(caplog.records) == 2  # in 100 s
    assert failed.note("192.0.2.2") == 0.0


def test_address_that_stays_away_is_forgiven():
    clock = Clock()
    failed = FailedKeys(clock)
    for _ in range(1000):
        failed.note(ADDRESS)
    clock.now += LONGEST_S + FREE * INTERVAL_S
    assert [failed.note(ADDRESS) for _ in range(FREE)] == pytest.approx([0.0] * FREE)
    assert failed.note(ADDRESS) == pytest.approx(INTERVAL_S)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("testclient", "testclient", True),
    ],
)
def test_addresses_of_one_ipv6_subscriber_count_as_one(one: str, other: str, is_same: bool):
    failed = FailedKeys(Clock())
    for _ in range(FREE):
        failed.note(one)
    assert (failed.note(other) > 0) == is_same


def test_what_is_remembered_of_addresses_is_bounded_and_the_oldest_is_forgotten():
    failed = FailedKeys(Clock())
    for _ in range(FREE + 1):
        failed.note(ADDRESS)
    for number in range(MOST_ADDRESSES):
        failed.note(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(failed._refused) == MOST_ADDRESSES
    assert failed.note(ADDRESS) == 0.0


def test_what_a_proxy_says_instead_of_an_address_is_shortened(caplog: pytest.LogCaptureFixture):
    FailedKeys(Clock()).note("x" * 60_000)
    assert len(caplog.text) < 500


def test_refusals_of_an_address_are_logged_with_their_number_once_a_minute(caplog: pytest.LogCaptureFixture):
    clock = Clock()
    failed = FailedKeys(clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            failed.note(ADDRESS)
        clock.now += LOG_EVERY_S
        failed.note(ADDRESS)
    assert [record.getMessage() for record in caplog.records] == [
        f"1 requests without a valid key from {ADDRESS}",
        f"100 requests without a valid key from {ADDRESS}",
    ]
