"""Kinds of fields: how a value is read, and what it is called in the description."""

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from matchka.errors import InvalidFieldError
from matchka.modalities import MODALITIES
from matchka.store.rights.given_terms import LONGEST_TERM, check_term, read_metadata
from matchka.store.rights.terms import Metadata
from matchka.store.subject_id import check_subject_id

NUMBER: Final = re.compile(r"[-+.0-9eE]+")


def read_number(value: object) -> object:
    """Accept what a person writes as a number, and neither `true` nor other scripts' digits."""
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        return value.strip()
    raise ValueError("must be a number")


def read_flag(value: object) -> object:
    """Accept `true` and `false`, and no other spelling of them."""
    if value in ("true", "false"):
        return value == "true"
    raise ValueError("must be true or false")


@dataclass(frozen=True)
class Stated:
    """Marks a field of files that are `data:` URIs where they are text, whose media types count: see StatedFile."""


FileBytes = Annotated[bytes, WithJsonSchema({"type": "string", "format": "binary"})]
SubjectId = Annotated[str, AfterValidator(check_subject_id)]
Dim = Annotated[int | None, BeforeValidator(read_number), Field(description="A trained dim; full_dim by default.")]
Rate = Annotated[float, BeforeValidator(read_number), Field(gt=0, lt=1, allow_inf_nan=False)]
Share = Annotated[float, BeforeValidator(read_number), Field(ge=0, le=1, allow_inf_nan=False)]
Flag = Annotated[bool, BeforeValidator(read_flag)]
LISTS_OF_FILES: Final = (list[FileBytes], list[FileBytes] | None)
ProbeFiles = Annotated[
    list[FileBytes] | None,
    Field(description="One; with a challenge of kind head_turn 3 to 8, in the order in which they were taken."),
]
Ceiling = Annotated[float, BeforeValidator(read_number), Field(gt=0, le=1, allow_inf_nan=False)]
Quota = Annotated[int | None, BeforeValidator(read_number), Field(ge=1, lt=2**31)]
Term = Annotated[str | None, AfterValidator(check_term), Field(max_length=LONGEST_TERM)]
Notes = Annotated[
    Metadata | None,
    BeforeValidator(read_metadata),
    WithJsonSchema({"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "number"}]}}),
]
MEDIA_TYPES: Final = " ".join(f"For {known.things}: {known.stated_media_types}." for known in MODALITIES.values())
Files = Annotated[list[FileBytes], Field(min_length=1, description=f"1 to 32 files. {MEDIA_TYPES}")]
StatedFiles = Annotated[
    list[FileBytes],
    Stated(),
    Field(
        min_length=1,
        description="1 to 32 samples, each a data: URI that states its media type, or the sample itself where that is "
        f"a JSON object. {MEDIA_TYPES}",
    ),
]


OneFace = Annotated[
    Literal["dominant", "only", "aligned"] | None,
    Field(description="Which face of a picture: dominant, only (refuse a second one), aligned (it is a chip already)."),
]
AnyFace = Annotated[
    Literal["dominant", "only", "aligned", "all"] | None, Field(description="As elsewhere, or all: look up every face.")
]

SampleFormat = Annotated[
    Literal["npy", "cf32", "ci16", "cu8", "wav", "sigmf"] | None,
    Field(
        description="Format of a radio recording. cf32, ci16 and cu8, bare samples, have to be named; the others show."
    ),
]


def given_often(name: str, count: int) -> InvalidFieldError:
    """A field that takes one value, and got several."""
    return InvalidFieldError(f"The field {name} is given {count} times.", value=name, remedy="Give it once.")
