"""Forms of calls about what is said."""

from typing import Annotated, Final

from pydantic import Field

from matchka.api.forms.fields import FileBytes, Rate
from matchka.api.forms.form import ModelForm

PHONEMES: Final = "phonemes"  # the default model of calls about what is said
LONGEST_TEXT: Final = 1000  # characters: more are not said in 15 s


class PronounceForm(ModelForm):
    """POST /v1/pronounce."""

    model: str = PHONEMES
    file: FileBytes
    text: Annotated[str, Field(max_length=LONGEST_TEXT, description="What was to be said, in words.")]
    max_far: Rate = 1e-2


class TranscribeForm(ModelForm):
    """POST /v1/transcribe."""

    model: str = PHONEMES
    file: FileBytes
