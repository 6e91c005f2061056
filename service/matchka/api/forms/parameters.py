"""Forms of calls about settings of named numbers."""

from typing import Annotated

from pydantic import Field

from matchka.api.forms.fields import FileBytes, Share
from matchka.api.forms.form import ModelForm


class GenerateForm(ModelForm):
    """POST /v1/generate."""

    descriptor: Annotated[str, Field(min_length=1, max_length=64, description="The word; GET /v1/models lists them.")]
    strength: Annotated[Share, Field(description="0 changes nothing, 1 is the word as people meant it.")] = 1.0


class MorphForm(ModelForm):
    """POST /v1/morph."""

    a: Annotated[FileBytes, Field(description="The setting at t = 0: a JSON object of named numbers.")]
    b: Annotated[FileBytes, Field(description="The setting at t = 1.")]
    t: Annotated[Share, Field(description="How far from a to b.")] = 0.5
