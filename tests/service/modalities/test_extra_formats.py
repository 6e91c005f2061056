from collections.abc import Mapping

import pytest

from matchka.errors import SettingsError
from matchka.modalities import read_limits
from matchka.modalities.extra_formats import ExtraFormat, check_names, find_format

TABLE = (
    ExtraFormat("here", ("audio/here",), "json", lambda data: data[:1] == b"h", None),
    ExtraFormat("missing", ("audio/missing",), "a_library_that_nobody_has", lambda data: data[:1] == b"m", None),
)


def test_check_names_of_a_list_gives_each_name_once() -> None:
    assert check_names(" here, here,", TABLE) == ("here",)
    assert check_names("", TABLE) == ()
    assert check_names(("here",), TABLE) == ("here",)


def test_check_names_of_a_format_whose_library_is_missing_names_the_extra() -> None:
    with pytest.raises(ValueError, match=r'pip install "matchka\[formats\]"'):
        check_names("here,missing", TABLE)


@pytest.mark.parametrize("value", ["other", 3, "here;missing"])
def test_check_names_of_what_is_no_list_of_known_names_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"names separated|no format"):
        check_names(value, TABLE)


def test_find_format_asks_only_how_the_file_begins() -> None:
    assert find_format(b"h", TABLE, ("here",), setting="S", always="WAV") is TABLE[0]
    assert find_format(b"x", TABLE, ("here",), setting="S", always="WAV") is None


@pytest.mark.parametrize(
    "given", [{"audio": {"formats": "heic"}}, {"face": {"formats": "webm"}}, {"audio": {"formats": 3}}]
)
def test_read_limits_of_a_format_that_the_modality_does_not_know_names_the_variable(
    given: Mapping[str, Mapping[str, object]],
) -> None:
    with pytest.raises(SettingsError, match="__FORMATS"):
        read_limits(given)


def test_read_limits_by_default_name_no_further_format() -> None:
    limits = read_limits({})
    assert [getattr(limits[kind], "formats") for kind in ("audio", "image")] == [(), ()]  # noqa: B009 - of two classes
