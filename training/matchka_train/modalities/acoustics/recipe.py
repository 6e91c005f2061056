"""How a recipe names folders of noise and of room responses; their licences go into the bundle."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from matchka_train.modalities.acoustics.corpora import SoundKind
from matchka_train.strict_model import StrictModel


def rising(value: tuple[float, float]) -> tuple[float, float]:
    """A range as it is. Raises: ValueError: it falls."""
    if value[0] > value[1]:
        raise ValueError("a range is written [low, high]")
    return value


Range = Annotated[tuple[float, float], AfterValidator(rising)]


class SoundFolder(StrictModel):
    """A corpus that changes training clips.

    Attributes:
        name: of the corpus, for the bundle.
        layout: how it lies; a plain `folder` holds what the recipe uses it as.
        path: the folder.
        source: where it comes from, for the bundle.
        licence: of the recordings, for the bundle.
    """

    name: str = Field(min_length=1)
    layout: Literal["musan", "rirs_noises", "folder"]
    path: Path
    source: str = Field(min_length=1)
    licence: str = Field(min_length=1)


class SnrRanges(StrictModel):
    """What of a corpus is added, and at which signal-to-noise ratios in dB; null is left out.

    Attributes:
        noise: sounds of things and places.
        music: music.
        babble: several people who talk at once.
    """

    noise: Range | None = None
    music: Range | None = None
    babble: Range | None = None

    def by_kind(self) -> dict[SoundKind, tuple[float, float]]:
        """The kinds that are added, each with its range."""
        ranges = {SoundKind.NOISE: self.noise, SoundKind.MUSIC: self.music, SoundKind.BABBLE: self.babble}
        return {kind: found for kind, found in ranges.items() if found is not None}

    @model_validator(mode="after")
    def _adds_something(self) -> "SnrRanges":
        if not self.by_kind():
            raise ValueError("give a range for at least one of noise, music and babble")
        return self


class NoiseFolder(SoundFolder):
    """A corpus of sounds that are added to clips.

    Attributes:
        snr_db: which of its kinds of sound, and how loud.
    """

    snr_db: SnrRanges


class NoiseRecipe(StrictModel):
    """Recorded noise; a view gets one kind of one folder, each as often as another.

    Attributes:
        folders: where the recordings are.
        share: of views that get some.
    """

    folders: tuple[NoiseFolder, ...] = Field(min_length=1)
    share: float = Field(default=1.0, gt=0, le=1)


class RoomsRecipe(StrictModel):
    """Room impulse responses; a view passes one, drawn from each part of each folder as often as from another.

    Attributes:
        folders: where the responses are.
        share: of views that pass a room.
    """

    folders: tuple[SoundFolder, ...] = Field(min_length=1)
    share: float = Field(default=0.5, gt=0, le=1)
