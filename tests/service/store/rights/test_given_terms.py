"""Terms as callers give them: what is taken, in which form, and what is refused."""

import json
from datetime import UTC, datetime

import pytest

from matchka.store.rights.given_terms import check_term, read_expiry, read_metadata


@pytest.mark.parametrize("term", ["form 7", "Einwilligung Nr. 3/ä", "x" * 256, "同意"])
def test_term_of_one_line_is_taken_as_it_is(term: str):
    assert check_term(term) == term


@pytest.mark.parametrize("term", ["two\nlines", "a\0b", "\x1b[31m", " a", "a ", "\u202eabc", "\udcff"])
def test_term_with_control_characters_or_outer_blanks_is_refused(term: str):
    with pytest.raises(ValueError, match="must"):
        check_term(term)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-01-02T03:04:05Z", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2030-01-02t03:04z", datetime(2030, 1, 2, 3, 4, tzinfo=UTC)),
        ("2030-01-01T23:30:00-02:30", datetime(2030, 1, 2, 2, 0, tzinfo=UTC)),
        ("2030-01-02 03:04:05.250+0100", datetime(2030, 1, 2, 2, 4, 5, 250_000, tzinfo=UTC)),
    ],
)
def test_expiry_with_its_zone_is_read_in_utc(text: str, expected: datetime):
    assert read_expiry(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2030-01-02",
        "2030-01-02T03:04:05",
        "1893456000",
        "tomorrow",
        "2030-13-01T00:00:00Z",
        "9999-12-31T23:59:59-12:00",
        "2030-01-02T03:04:05Z; DROP",
        "\u0662030-01-02T03:04:05Z",
        " 2030-01-02T03:04:05Z",
    ],
)
def test_expiry_that_is_no_time_or_has_no_zone_is_refused(text: str):
    with pytest.raises(ValueError, match="must be"):
        read_expiry(text)


def test_metadata_of_texts_and_numbers_is_read_whole():
    given = {"badge": 7, "team": "größer", "share": -0.25, "largest": 2**53}
    assert read_metadata(json.dumps(given)) == given
    assert read_metadata("{}") == {}
    assert read_metadata(json.dumps({f"n{n}": n for n in range(32)})) == {f"n{n}": n for n in range(32)}


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '"text"',
        "{",
        '{"a": 1, "a": 2}',
        '{"a": true}',
        '{"a": null}',
        '{"a": [1]}',
        '{"a": {"b": 1}}',
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": 9007199254740993}',
        '{"": 1}',
        '{"a\\nb": 1}',
        '{"a": "\\ud800"}',
        json.dumps({"a" * 65: 1}),
        json.dumps({"a": "x" * 257}),
        json.dumps({f"n{n}": n for n in range(33)}),
        json.dumps({f"n{n}": "x" * 200 for n in range(25)}),
        "[" * 2000,
    ],
)
def test_metadata_of_anything_else_or_too_much_is_refused(text: str):
    with pytest.raises(ValueError, match="must"):
        read_metadata(text)
