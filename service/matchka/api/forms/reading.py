"""A body -> a checked form, and the description of the form for OpenAPI."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BeforeValidator, ValidationError
from pydantic.fields import FieldInfo

from matchka.api.bodies.body import read_body
from matchka.api.bodies.fields import FieldKind, Fields
from matchka.api.bodies.json_object import JSON
from matchka.api.bodies.multipart import MULTIPART
from matchka.api.forms.fields import LISTS_OF_FILES, FileBytes, Stated, given_often, read_flag, read_number
from matchka.api.forms.form import Form
from matchka.errors import InvalidFieldError, MatchkaError, MissingFieldError, UnknownFieldError
from matchka.store.rights.given_terms import read_metadata

FormT = TypeVar("FormT", bound="Form")
FILE_IN_JSON: Final = {
    "anyOf": [
        {
            "type": "string",
            "contentEncoding": "base64",
            "description": "Base64 of the file, or a data: URI of it.",
        },
        {"type": "object", "description": "The file itself, where it is a JSON object."},
    ]
}


def reads(kind: type[FormT]) -> Callable[[Request], Awaitable[FormT]]:
    """A dependency that reads a request's body as one kind of form."""
    takes = kinds_of(kind)

    async def read(request: Request) -> FormT:
        return check_fields(kind, await read_body(request, takes))

    return read


def kinds_of(kind: type[Form]) -> dict[str, FieldKind]:
    """What a form takes, by name."""
    return {name: _kind_of(field) for name, field in kind.model_fields.items()}


def body_schema(kind: type[Form]) -> dict[str, Any]:
    """The OpenAPI description of a form."""
    schema = kind.model_json_schema()
    content = {MULTIPART: {"schema": schema}, JSON: {"schema": _with_files_as_text(schema)}}
    return {"requestBody": {"required": True, "content": content}}


def _with_files_as_text(schema: Any) -> Any:
    """A form's schema, with what stands for a file in JSON; one of several files needs no array."""
    if isinstance(schema, list):
        return [_with_files_as_text(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "binary":
        return FILE_IN_JSON
    changed = {name: _with_files_as_text(part) for name, part in schema.items()}
    if changed.get("items") == FILE_IN_JSON:
        told = {name: changed.pop(name) for name in ("title", "description") if name in changed}
        return {"anyOf": [changed, FILE_IN_JSON], **told}
    return changed


def check_fields(kind: type[FormT], fields: Fields) -> FormT:
    """Make a form of named values.

    Raises:
        UnknownFieldError, MissingFieldError: a name that the call does not have, or lacks.
        InvalidFieldError: a value that cannot be read, or is given twice.
        InvalidSubjectIdError: see check_subject_id.
    """
    known = kind.model_fields
    for name in fields:
        if name not in known:
            raise UnknownFieldError(
                "This call has no such field.", value=name, remedy=f"Its fields are {', '.join(known)}."
            )
    values = {name: _one_or_many(kind, name, given) for name, given in fields.items() if given}
    try:
        return kind(**values)
    except ValidationError as error:
        raise _field_error(kind, error) from error


def _one_or_many(kind: type[Form], name: str, given: list[str | bytes]) -> object:
    takes = _kind_of(kind.model_fields[name])
    if any(isinstance(value, bytes) != takes.is_file for value in given):
        expected = "a file (a part with a filename)" if takes.is_file else "text, not a file"
        raise InvalidFieldError(f"The field {name} must be {expected}.", value=name, remedy="Correct the form.")
    if takes.is_list:
        return given
    if len(given) > 1:
        raise given_often(name, len(given))
    return given[0]


def _kind_of(field: FieldInfo) -> FieldKind:
    return FieldKind(
        is_file=field.annotation in (bytes, FileBytes, FileBytes | None, *LISTS_OF_FILES),
        is_stated=any(isinstance(mark, Stated) for mark in field.metadata),
        is_number=_is_read_by(read_number, field),
        is_flag=_is_read_by(read_flag, field),
        is_list=field.annotation in LISTS_OF_FILES,
        is_object=any(isinstance(rule, BeforeValidator) and rule.func is read_metadata for rule in field.metadata),
    )


def _is_read_by(reader: Callable[[object], object], field: FieldInfo) -> bool:
    return any(isinstance(rule, BeforeValidator) and rule.func is reader for rule in field.metadata)


def _field_error(kind: type[Form], error: ValidationError) -> MatchkaError:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0])
    if first["type"] == "missing":
        return MissingFieldError(
            f"The field {name} is missing.", value=name, remedy=f"The call's fields are {', '.join(kind.model_fields)}."
        )
    return InvalidFieldError(
        f"The field {name} is not valid: {first['msg'].removeprefix('Value error, ')}.",
        value=first["input"],
        remedy="Correct the value; /docs describes every field.",
    )
