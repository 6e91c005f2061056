"""What goes into one request, and by which key it is known."""

import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from matchka.cli.enrolment import requests
from matchka.cli.enrolment.people_file import Row
from matchka.cli.enrolment.requests import (
    Loaded,
    Terms,
    UnusableFileError,
    fits,
    halves,
    idempotency_key,
    load,
    named_format,
)

ROW = Row(2, "ada", "voice", "a.wav")


def loaded(number: int, size: int = 1, row: Row = ROW) -> Loaded:
    return Loaded(row, bytes(size), f"{number:064x}")


def test_sample_is_read_with_its_digest(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"abc")
    one = load(ROW, tmp_path / "a")
    assert (one.sample, one.digest) == (b"abc", hashlib.sha256(b"abc").hexdigest())


def test_what_is_no_file_too_large_or_not_there_is_not_read(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(requests.LARGEST_FILE + 1)
    for name, code in (("pipe", "no_file"), ("large", "body_too_large"), ("none", "unreadable_file")):
        with pytest.raises(UnusableFileError) as refused:
            load(ROW, tmp_path / name)
        assert (refused.value.code, bool(refused.value.remedy)) == (code, True)


def test_request_takes_32_different_files_of_16_mib_in_all_and_one_of_any_size():
    piece = [loaded(number) for number in range(31)]
    assert fits(piece, loaded(31))
    assert not fits(piece, loaded(30))  # a copy
    assert not fits([*piece, loaded(31)], loaded(32))
    assert fits([], loaded(0, 17 << 20))
    assert fits([loaded(0, 8 << 20)], loaded(1, 8 << 20))
    assert not fits([loaded(0, 8 << 20)], loaded(1, (8 << 20) + 1))


def test_request_is_of_one_format_of_bare_samples():
    cf32, ci16, shown = (replace(ROW, model="radio", file=name) for name in ("a.cf32", "B.CI16", "c.sigmf"))
    assert fits([loaded(0, row=cf32)], loaded(1, row=cf32))
    for other in (ci16, shown):
        assert not fits([loaded(0, row=cf32)], loaded(1, row=other))
    assert [named_format([loaded(0, row=one)]) for one in (cf32, ci16, shown, ROW)] == ["cf32", "ci16", None, None]


def test_halves_are_all_of_a_request_and_smaller():
    for count in (2, 3, 32):
        piece = [loaded(number) for number in range(count)]
        first, second = halves(piece)
        assert [*first, *second] == piece
        assert 0 < len(first) < count


def test_key_is_that_of_the_request_and_of_no_other():
    now = datetime(2026, 11, 22, tzinfo=UTC)
    others = [
        ([loaded(1)], Terms()),
        ([loaded(2)], Terms()),
        ([loaded(1), loaded(2)], Terms()),
        ([loaded(1, row=replace(ROW, subject_id="ben"))], Terms()),
        ([loaded(1, row=replace(ROW, model="face"))], Terms()),
        ([loaded(1)], Terms(("x", None))),
        ([loaded(1)], Terms((None, "x"))),
        ([loaded(1)], Terms(on_duplicate="x")),
        ([loaded(1)], Terms(consent="x")),
        ([loaded(1)], Terms(purpose="x")),
        ([loaded(1)], Terms(force=True)),
        ([loaded(1)], Terms(expires_at=now)),
        ([loaded(1)], Terms(expires_at=now + timedelta(seconds=1))),
    ]
    keys = [idempotency_key(piece, "1.0.0", terms) for piece, terms in others]
    keys.append(idempotency_key([loaded(1)], "2.0.0", Terms()))
    assert len(set(keys)) == len(others) + 1
    moved = replace(loaded(1), row=replace(ROW, line=9, file="elsewhere.wav"))
    keys.append(idempotency_key([loaded(1)], "1.0.0", Terms(), "begun"))
    assert len(set(keys)) == len(keys)
    assert idempotency_key([moved], "1.0.0", Terms()) == keys[0]
    assert all(key.isascii() and key.isprintable() and len(key) <= 255 for key in keys)
