"""JSON objects of numbers to rows: the fields' order and units, and nothing clipped, filled in or guessed."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matchka.errors import EmptyFileError
from matchka.modalities.tabular.errors import (
    MissingNumberError,
    NotANumberError,
    NotNumbersError,
    NumberOutOfRangeError,
    UnknownNumberError,
)
from matchka.modalities.tabular.modality import TABULAR
from matchka.modalities.tabular.reader import TabularReader
from tests.factories.named_numbers import FREQUENCY, GAIN, spec_of

READER = TabularReader(spec_of(FREQUENCY, GAIN))


def read(data: bytes) -> list[list[float]]:
    (observation,) = READER.read(data, None)
    assert observation.finding is None
    assert observation.rows.dtype == np.float32
    rows: list[list[float]] = observation.rows.tolist()
    return rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"frequency": 440, "gain": -3.5}', [440.0, -3.5]),
        ('{"gain": -3.5, "frequency": 440}', [440.0, -3.5]),
        ('\n{ "gain" : 1.2e1, "frequency" : 2E+1 }\t', [20.0, 12.0]),
        ('{"frequency": 20000, "gain": -12}', [20_000.0, -12.0]),
        ('{"frequency": 20.000, "\\u0067ain": -0}', [20.0, 0.0]),
    ],
)
def test_read_of_an_object_is_one_row_in_the_order_and_units_of_the_fields(text: str, expected: list[float]):
    assert read(text.encode()) == [expected]


GOOD = b'{"frequency": 440, "gain": 0}'


@pytest.mark.parametrize(
    "data",
    [
        b"null",
        b"[]",
        b"440",
        b"[" + GOOD + b"]",  # one object is one sample
        GOOD * 2,
        GOOD[:-1],
        b"\xef\xbb\xbf" + GOOD,
        GOOD.decode().encode("utf-16"),
        GOOD.replace(b"gain", b"g\xffin"),
        GOOD.replace(b"}", b', "gain": 0}'),
        GOOD.replace(b"}", b', "more": {"a": 1, "a": 2}}'),
        GOOD.replace(b"0}", b"+1}"),
        GOOD.replace(b"0}", b"0x1}"),
        GOOD.replace(b"0}", b"01}"),
        b"RIFF and some more",
        b"[" * 60_000,
        b'{"gain":' * 8000,
        GOOD + b" " * (64 << 10),
    ],
    ids=lambda data: repr(data[:40]),
)
def test_read_of_what_is_no_object_of_numbers_is_refused(data: bytes):
    with pytest.raises(NotNumbersError) as refused:
        read(data)
    assert refused.value.value
    assert "64 KiB" in refused.value.detail


def test_read_of_an_empty_file_is_refused():
    with pytest.raises(EmptyFileError):
        read(b"")


@pytest.mark.parametrize("name", ["Gain", "gain ", "", "q", "\ud800", "gain_db", "x" * 60_000])
def test_read_with_a_number_of_another_name_is_refused_with_the_names_there_are(name: str):
    with pytest.raises(UnknownNumberError) as refused:
        read(json.dumps({"frequency": 440, name: 0}).encode())
    assert refused.value.value is not None
    assert refused.value.value.encode().decode()[:100] == name.encode("utf-8", "replace").decode()[:100]
    assert "frequency, gain" in refused.value.remedy


@pytest.mark.parametrize(("given", "missing"), [({}, "frequency"), ({"frequency": 440}, "gain")])
def test_read_without_a_number_names_it_and_its_range(given: dict[str, float], missing: str):
    with pytest.raises(MissingNumberError) as refused:
        read(json.dumps(given).encode())
    assert refused.value.value == missing
    assert ("-12.0 to 12.0 dB" if missing == "gain" else "20.0 to 20000.0 Hz") in refused.value.remedy


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("true", "true"),
        ("false", "false"),
        ("null", "null"),
        ('"0"', "0"),
        ('"NaN"', "NaN"),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("[0]", "an array"),
        ('{"value": 0}', "an object"),
        ("[" * 900 + "]" * 900, "an array"),
    ],
)
def test_read_with_a_value_that_is_no_number_shows_it_and_the_range(value: str, shown: str):
    with pytest.raises(NotANumberError, match="gain must be a number") as refused:
        read(b'{"frequency": 440, "gain": ' + value.encode() + b"}")
    assert refused.value.value == shown
    assert "-12.0 to 12.0 dB" in refused.value.remedy


@pytest.mark.parametrize("value", ["12.000000000000002", "-12.1", "1e999", "-1e999", "9" * 60_000, str(2**2000)])
def test_read_with_a_value_out_of_range_is_refused_and_not_clipped(value: str):
    with pytest.raises(NumberOutOfRangeError, match=r"gain must be within -12\.0 to 12\.0 dB") as refused:
        read(b'{"frequency": 440, "gain": ' + value.encode() + b"}")
    assert refused.value.value == str(float(value))


def test_every_error_of_the_modality_is_met_here():
    met = {NotNumbersError, UnknownNumberError, MissingNumberError, NotANumberError, NumberOutOfRangeError}
    assert set(TABULAR.errors) == met


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(
    data=st.binary(max_size=50)
    | st.dictionaries(st.sampled_from(["gain", "frequency"]) | st.text(max_size=3), VALUES, max_size=3).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_read_of_any_bytes_is_a_row_within_the_ranges_or_a_named_error(data: bytes):
    try:
        ((frequency, gain),) = read(data)
    except (EmptyFileError, *TABULAR.errors):
        return
    assert 20 <= frequency <= 20_000
    assert -12 <= gain <= 12


def test_read_with_a_frequency_in_khz_suggests_what_it_is_in_hz():
    with pytest.raises(NumberOutOfRangeError) as refused:
        read(b'{"frequency": 1.25, "gain": 3}')
    assert refused.value.remedy == "Is it in kHz? Give it in Hz: 1250."


@pytest.mark.parametrize("value", ["0.01", "30000"])
def test_read_with_a_frequency_that_is_right_in_no_unit_suggests_none(value: str):
    with pytest.raises(NumberOutOfRangeError) as refused:
        read(b'{"frequency": ' + value.encode() + b', "gain": 3}')
    assert "kHz" not in refused.value.remedy
