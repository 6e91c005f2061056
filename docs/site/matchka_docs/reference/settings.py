"""Every setting, from the classes that read them."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from matchka.modalities import MODALITIES
from matchka.settings import IN_FILES, PREFIX, SECTION_MARK, SECTIONS, Settings

UNITS: Final = {
    "_kib_s": "KiB/s",
    "_mib": "MiB",
    "_megapixels": "million pixels",
    "_per_hour": "an hour",
    "_ms": "ms",
    "_s": "s",
    "_px": "px",
    "_hours": "hours",
    "days": "days",
}
BOUNDS: Final = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
KINDS: Final[dict[Any, str]] = {
    int: "whole number",
    float: "number",
    bool: "`true`, `false`",
    Path: "path",
    str: "text",
    SecretStr: "secret",
}


def settings_page() -> str:
    """The page of all settings."""
    own = [name for name in Settings.model_fields if name not in {"modalities", *SECTIONS}]
    parts = [
        "# Settings",
        "Environment variables that the service, the command line and the Python client read. An unknown `MATCHKA_…` "
        "is an error, and so is a value that is out of range. [What they are for](../readme.md#settings), in groups.",
        "## The service",
        *(_described(name, Settings.model_fields[name]) for name in own),
    ]
    parts += [_section(name, type(Settings.model_fields[name].default)) for name in sorted(SECTIONS)]
    parts += [_section(known.name, known.limits) for known in MODALITIES.values() if known.limits.model_fields]
    return "\n\n".join(parts) + "\n"


def _section(name: str, section: type[BaseModel]) -> str:
    said = " ".join((section.__doc__ or "").split())
    listed = [_described(f"{name}{SECTION_MARK}{key}", known) for key, known in section.model_fields.items()]
    return "\n\n".join([f"## {name.capitalize()}", said, *listed])


def _described(name: str, known: FieldInfo) -> str:
    variable = f"`{PREFIX}{name.upper()}`"
    if name in IN_FILES:
        variable += f", or the file that holds it: `{PREFIX}{name.upper()}_FILE`"
    return f"{variable}\n: {known.description} Default: {_default(name, known)}. Values: {_values(name, known)}."


def _default(name: str, known: FieldInfo) -> str:
    if known.default_factory is not None:
        return "of this machine"
    value = known.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value in ("", ()):
        return "none"
    unit = _unit(name)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"{_number(value)} {unit}".strip()
    return f"`{value}`"


def _number(value: float) -> str:
    """A number without needless digits.

    >>> _number(20.0), _number(0.5), _number(4_000_000)
    ('20', '0.5', '4000000')
    """
    return f"{value:.15g}"


def _unit(name: str) -> str:
    """The unit that a setting's name ends in.

    >>> _unit("min_upload_kib_s"), _unit("port")
    ('KiB/s', '')
    """
    return next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")


def _values(name: str, known: FieldInfo) -> str:
    limits = [
        f"{sign} {_number(value)}"
        for limit in known.metadata
        for bound, sign in BOUNDS.items()
        if isinstance(value := getattr(limit, bound, None), (int, float))
    ]
    pattern = next((found for limit in known.metadata if (found := getattr(limit, "pattern", None))), None)
    choices = [*_choices(known.annotation), *_alternatives(pattern)]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    words = " ".join([_kind(known.annotation), *([", ".join(limits)] if limits else []), _unit(name) if limits else ""])
    return f"{words.strip()}{f', `{pattern}`' if pattern else ''}"


def _alternatives(pattern: str | None) -> list[str]:
    """The words of a pattern that is nothing but words.

    >>> _alternatives("^(key|open|off)$"), _alternatives("^https?://")
    (['key', 'open', 'off'], [])
    """
    found = re.fullmatch(r"\^\(([a-z|]+)\)\$", pattern or "")
    return found.group(1).split("|") if found else []


def _parts(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, UnionType, tuple):
        for part in get_args(annotation):
            yield from _parts(part)
    elif annotation not in (NoneType, Ellipsis):
        yield annotation


def _choices(annotation: Any) -> list[str]:
    return [str(choice) for part in _parts(annotation) if get_origin(part) is Literal for choice in get_args(part)]


def _kind(annotation: Any) -> str:
    kinds = [KINDS.get(part, getattr(part, "__name__", str(part))) for part in _parts(annotation)]
    return ", ".join(dict.fromkeys(kinds))
