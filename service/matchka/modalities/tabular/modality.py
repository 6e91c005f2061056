"""Named numbers as a modality."""

from collections.abc import Mapping
from typing import Final

from matchka.modalities.modality import Modality, Purpose
from matchka.modalities.tabular.errors import (
    MissingNumberError,
    NotANumberError,
    NotNumbersError,
    NumberOutOfRangeError,
    UnknownNumberError,
)
from matchka.modalities.tabular.reader import open_reader
from matchka.modalities.tabular.settings import TabularSettings
from matchka.modalities.tabular.spec import TabularInputSpec


def options_for(_purpose: Purpose, _given: Mapping[str, str]) -> None:
    """Nothing: there is one way to read them."""


TABULAR: Final = Modality(
    name="tabular",
    samples="JSON objects of numbers",
    things="named numbers",
    spec=TabularInputSpec,
    limits=TabularSettings,
    open_reader=open_reader,
    option_names=(),
    options_for=options_for,
    media_types=("application/json",),
    cost_s=lambda _data: 0.001,  # some numbers, and a small graph
    errors={
        NotNumbersError: "not_numbers",
        UnknownNumberError: "unknown_number",
        MissingNumberError: "missing_number",
        NotANumberError: "not_a_number",
        NumberOutOfRangeError: "number_out_of_range",
    },
    # a row takes a fraction of a millisecond: threads that meet at every layer take longer
    least_parallel_rows=8,
)
