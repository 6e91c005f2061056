"""The recipe of `task: phonemes`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from matchka_train.backbones.frames.recipes import AnyFrameEncoderRecipe
from matchka_train.datasets.recipe import FoldRecipe
from matchka_train.datasets.transcripts import ReadSpeech
from matchka_train.fitting.ctc.recipe import CtcRecipe
from matchka_train.heads.phones.recipe import HeadRecipe
from matchka_train.modalities.clip_limits import ClipLimits
from matchka_train.run.recipe import ConfirmedPair, have_files
from matchka_train.strict_model import StrictModel

HELD_OUT: FoldRecipe = FoldRecipe(fold=0, folds=10, seed=0)


class PhonemeDataRecipe(StrictModel):
    """What is trained on, and what is reported.

    Attributes:
        train: data sets of clips with their phones.
        held_out: the people of `train` that are not trained on and choose the epoch.
        validation: data sets, of other people, that only report.
        cache_dir: folder of the feature cache.
        limits: of clips; others are skipped.
        confirmed_copies: pairs of files that seem to hold the same and are all the same to be used; ends of paths.
    """

    train: tuple[ReadSpeech, ...] = Field(min_length=1)
    held_out: FoldRecipe = HELD_OUT
    validation: tuple[ReadSpeech, ...] = Field(min_length=1)
    cache_dir: Path = Path("build/features")
    limits: ClipLimits = ClipLimits()
    confirmed_copies: tuple[ConfirmedPair, ...] = ()

    def is_confirmed_copy(self, one: Path, other: Path) -> bool:
        """Whether `confirmed_copies` has two files."""
        return have_files(self.confirmed_copies, one, other)


class PhonemeRecipe(StrictModel):
    """A whole training run.

    Attributes:
        task: what is trained.
        name: of the model; also of the checkpoint's folder.
        seed: fixes every random choice.
        encoders: the frozen encoders, of one frame period.
        data: data sets.
        head: from their frames to phones.
        optimisation: how the head is trained.
        shuffled_epochs: epochs of a second fit, on transcripts of other clips, to see what transcripts are worth; 0
            leaves it out.
        output_dir: folder of the checkpoint.
    """

    task: Literal["phonemes"]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    seed: int = Field(default=0, ge=0)
    encoders: tuple[AnyFrameEncoderRecipe, ...] = Field(min_length=1)
    data: PhonemeDataRecipe
    head: HeadRecipe = HeadRecipe()
    optimisation: CtcRecipe = CtcRecipe()
    shuffled_epochs: int = Field(default=4, ge=0)
    output_dir: Path
