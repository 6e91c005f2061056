"""Formats that are read only where the operator names them: each is more code that strangers' bytes reach."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, Generic, TypeVar

from matchka.errors import FormatNotEnabledError

EXTRA: Final = "matchka[formats]"

DecoderT = TypeVar("DecoderT")


@dataclass(frozen=True)
class ExtraFormat(Generic[DecoderT]):
    """A row of a modality's table of further formats.

    Attributes:
        name: what the setting calls it.
        media_types: of such files.
        library: the package that is imported to read it; one of those that the extra installs.
        begins: whether a file begins like one; names and stated media types are never asked.
        decoder: reads it, and imports the library no sooner.
    """

    name: str
    media_types: tuple[str, ...]
    library: str
    begins: Callable[[bytes], bool]
    decoder: DecoderT


def find_format(
    data: bytes, formats: Iterable[ExtraFormat[DecoderT]], enabled: Iterable[str], *, setting: str, always: str
) -> ExtraFormat[DecoderT] | None:
    """The row of the table that a file belongs to; None where it begins like none of them.

    Args:
        data: the whole file.
        formats: the table.
        enabled: names of those that are read.
        setting: the variable that names them, for the error.
        always: what is read without it, for the error.

    Raises: FormatNotEnabledError: it belongs to one that is not enabled.
    """
    for known in formats:
        if known.begins(data):
            if known.name in enabled:
                return known
            raise FormatNotEnabledError(
                f"The file is {known.name}, which this service is not set to read.",
                value=known.name,
                remedy=f'Send {always}. Whoever runs the service can have it read by pip install "{EXTRA}" '
                f"and {setting}={known.name}.",
            )
    return None


def check_names(value: object, formats: Iterable[ExtraFormat[DecoderT]]) -> tuple[str, ...]:
    """The names of a list that is separated by commas, each of the table and with its library installed.

    Raises: ValueError: another name, or a library that is missing.
    """
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Iterable):
        raise ValueError("must be names separated by commas")
    names = tuple(dict.fromkeys(part for part in (str(part).strip() for part in parts) if part))
    libraries = {known.name: known.library for known in formats}
    for name in names:
        if name not in libraries:
            raise ValueError(f"there is no format {name}; use {', '.join(libraries)}")
        if find_spec(libraries[name]) is None:
            raise ValueError(f'{name} needs a package that is not installed: pip install "{EXTRA}"')
    return names
