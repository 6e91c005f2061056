"""A request of the service, described: nothing is sent here."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, TypeAlias, TypeVar
from urllib.parse import quote

from matchka.errors import InvalidFieldError, MissingFieldError

Sample: TypeAlias = Path | str | bytes | Mapping[str, float]
Part: TypeAlias = tuple[str, tuple[str, bytes]]
Value: TypeAlias = str | int | float | None
AnswerT = TypeVar("AnswerT")
IDEMPOTENCY_KEY: Final = "Idempotency-Key"


@dataclass(frozen=True)
class Call(Generic[AnswerT]):
    """A request of the service.

    Attributes:
        method: of HTTP.
        path: below the service's root, quoted.
        read: makes the answer of the body; raises pydantic's ValidationError where it is none.
        fields: of the query of a GET, else of the form.
        files: of the form: (field, (file name, content)).
        headers: beside those of every call.
        is_safe: whether the service does nothing that a second time would do again.
    """

    method: str
    path: str
    read: Callable[[bytes], AnswerT]
    fields: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Part, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    is_safe: bool = False

    @property
    def is_known_again(self) -> bool:
        """Whether the service does it once, however often it is sent."""
        return IDEMPOTENCY_KEY in self.headers


def form_call(
    name: str,
    read: Callable[[bytes], AnswerT],
    fields: Mapping[str, Value],
    files: tuple[Part, ...],
    is_safe: bool = False,
) -> Call[AnswerT]:
    """A POST of a form; fields without a value are left out, so that the service's defaults hold."""
    given = {field: str(value) for field, value in fields.items() if value is not None}
    return Call("POST", f"/v1/{name}", read, given, files, is_safe=is_safe)


def quoted(name: str) -> str:
    """A name as one segment of a path.

    >>> quoted("a/b")
    'a%2Fb'
    """
    return quote(name, safe="")


def nothing(_: bytes) -> None:
    """How an answer without a body is read."""
    return


def files_of(name: str, samples: Sequence[Sample]) -> tuple[Part, ...]:
    """Samples as files of a form field.

    Raises:
        MissingFieldError: there are none.
        InvalidFieldError: a file cannot be read, or named numbers cannot be written.
    """
    if not samples:
        raise MissingFieldError("There is no sample to send.", value=name, remedy="Name at least one file.")
    return tuple((name, _named_bytes(sample)) for sample in samples)


def _named_bytes(sample: Sample) -> tuple[str, bytes]:
    if isinstance(sample, bytes):
        return "sample", sample
    if isinstance(sample, Mapping):
        return "sample.json", _json_of(sample)
    path = Path(sample)
    try:
        return path.name, path.read_bytes()
    except OSError as error:
        raise InvalidFieldError(
            "The file cannot be read.", value=path, remedy=f"Check the path ({error.strerror})."
        ) from error


def _json_of(numbers: Mapping[str, float]) -> bytes:
    """Named numbers as a file, numpy's scalars included; the service judges what they are.

    >>> _json_of({"length_m": 1.5})
    b'{"length_m": 1.5}'
    """
    try:
        return json.dumps(dict(numbers), default=float).encode()
    except (TypeError, ValueError) as error:
        raise InvalidFieldError(
            "The sample cannot be written as JSON.", value=error, remedy="Give numbers by their names."
        ) from error
