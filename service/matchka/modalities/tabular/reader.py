"""A JSON object of numbers -> the row that a graph takes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from matchka.errors import EmptyFileError
from matchka.modalities.modality import Graphs, Observation
from matchka.modalities.tabular.errors import (
    MissingNumberError,
    NotANumberError,
    NotNumbersError,
    NumberOutOfRangeError,
    UnknownNumberError,
)
from matchka.modalities.tabular.settings import TabularSettings
from matchka.modalities.tabular.spec import TabularField, TabularInputSpec
from matchka.runtime.stage_timer import StageTimes

# unit -> a unit that is taken for it by mistake, and how many of the first make one of it
MISTAKEN_UNITS: Final[Mapping[str, tuple[str, float]]] = {"Hz": ("kHz", 1e3), "s": ("ms", 1e-3), "m": ("mm", 1e-3)}
MOST_BYTES: Final = 64 << 10  # as many fields as there may be, with the longest names, take less than half of it


@dataclass(frozen=True)
class TabularReader:
    """JSON objects to rows. Nothing is clipped, filled in or scaled."""

    spec: TabularInputSpec
    times: StageTimes = field(default_factory=StageTimes)

    def read(self, data: bytes, _options: None) -> list[Observation]:
        """One observation of one row: float32, (1, fields), in the fields' order and units.

        Args: data: JSON in UTF-8: an object with a number for each field of the spec, and nothing else.

        Raises:
            EmptyFileError, NotNumbersError: no such object.
            UnknownNumberError, MissingNumberError: its names are not those of the fields.
            NotANumberError, NumberOutOfRangeError: a value is no finite number, or outside its field's range.
        """
        with self.times.timed("decode"):
            given = _object_in(data)
        with self.times.timed("prepare"):
            _require_names(given, self.spec)
            row = [_number(each, given[each.name]) for each in self.spec.fields]
            return [Observation(np.array([row], np.float32), None)]


def open_reader(spec: TabularInputSpec, _limits: TabularSettings, _graphs: Graphs, times: StageTimes) -> TabularReader:
    """The reader of one bundle."""
    return TabularReader(spec, times)


def _object_in(data: bytes) -> Mapping[str, object]:
    if not data:
        raise EmptyFileError("The file is empty (0 bytes).", remedy="Send a JSON object of numbers in the file field.")
    if len(data) > MOST_BYTES:
        raise _not_numbers(f"{len(data)} bytes, more than {MOST_BYTES}")
    try:
        # as floats: an integer of a million digits would take minutes to read
        found = json.loads(data.decode(), parse_int=float, parse_constant=str, object_pairs_hook=_object_of)
    except (ValueError, RecursionError) as error:
        raise _not_numbers(str(error)) from error
    if not isinstance(found, dict):
        raise _not_numbers("JSON, but no object")
    return found


def _object_of(members: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(members)
    if len(found) < len(members):
        raise _not_numbers("a name that is given twice")
    return found


def _not_numbers(problem: str) -> NotNumbersError:
    return NotNumbersError(
        f"The sample must be one JSON object of numbers in UTF-8, of at most {MOST_BYTES >> 10} KiB.",
        value=problem,
        remedy='Send an object such as {"length_m": 1.5}, every name once.',
    )


def _require_names(given: Mapping[str, object], spec: TabularInputSpec) -> None:
    ranges = {each.name: each.range for each in spec.fields}
    for name in given:
        if name not in ranges:
            raise UnknownNumberError(
                "The model takes no number of this name.", value=name, remedy=f"Its numbers are {', '.join(ranges)}."
            )
    for name, allowed in ranges.items():
        if name not in given:
            raise MissingNumberError(f"The number {name} is missing.", value=name, remedy=f"Give it: {allowed}.")


def _number(expected: TabularField, value: object) -> float:
    if not isinstance(value, float):
        raise NotANumberError(
            f"{expected.name} must be a number.", value=_shown(value), remedy=f"Give one within {expected.range}."
        )
    if not expected.low <= value <= expected.high:
        raise NumberOutOfRangeError(
            f"{expected.name} must be within {expected.range}.",
            value=value,
            remedy=_remedy(expected, value),
        )
    return value


def _remedy(expected: TabularField, value: float) -> str:
    """What to do about a value out of range: most often it is right, and in another unit."""
    unit, factor = MISTAKEN_UNITS.get(expected.unit, ("", 0.0))
    if unit and expected.low <= value * factor <= expected.high:
        return f"Is it in {unit}? Give it in {expected.unit}: {value * factor:g}."
    return "Measure again, or use a model that was made for such values."


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    return value if isinstance(value, str) else json.dumps(value)
