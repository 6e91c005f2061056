"""The README's table of settings against the classes that read them."""

import re
from typing import Any

import pytest
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from matchka.modalities import MODALITIES
from matchka.settings import SECTIONS, Settings
from tests.docs.settings_table import expanded, rows


def defaults() -> dict[str, Any]:
    """Every setting's variable and default, those of sections included."""
    own = Settings.model_fields.keys() - {"modalities", *SECTIONS}
    known = {name: Settings.model_fields[name].default for name in own}
    for section in SECTIONS:
        fields = type(Settings.model_fields[section].default).model_fields
        known |= {f"{section}__{name}": field.default for name, field in fields.items()}
    for modality in MODALITIES.values():
        known |= {f"{modality.name}__{name}": field.default for name, field in modality.limits.model_fields.items()}
    return {f"MATCHKA_{name}".upper(): value for name, value in known.items()}


def is_said(default: Any, written: str) -> bool:
    if isinstance(default, bool):
        return written == str(default).lower()
    if isinstance(default, (int, float)):
        return bool(re.fullmatch(r"-?[\d.]+", written)) and float(written) == default
    if (
        isinstance(default, SecretStr) or default is PydanticUndefined or not default
    ):  # none, or of the machine: in words
        return not re.fullmatch(r"-?[\d.]+|true|false", written)
    return written.removeprefix("./") == str(default)


@pytest.mark.parametrize(("variables", "written"), list(rows()))
def test_default_in_the_readme_is_the_settings_own(variables: str, written: str) -> None:
    known = defaults()
    own = [name for name in expanded(variables) if name in known]
    if " or " in variables:  # one setting, and other ways to give it
        own = own[:1] if "__" not in variables else own
    values = [re.sub(r" *\([^)]*\)", "", value).strip(" `") for value in re.sub(r"\([^)]*\)", "", written).split(",")]
    values = values * len(own) if len(values) == 1 else values  # one word for all
    for name, value in zip(own, values[: len(own)], strict=True):
        assert is_said(known[name], value), f"{name}: {known[name]!r} is written as {value!r}"
