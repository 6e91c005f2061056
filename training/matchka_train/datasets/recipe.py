"""How a recipe names a data set, or a part of one."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from matchka_train.datasets.generator.recipe import GeneratorRecipe
from matchka_train.strict_model import StrictModel

EqualParts = Annotated[int, Field(ge=1, le=16)]
Shares = Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=2, max_length=16)]
SHARES_TOLERANCE: Final = 1e-9


class FoldRecipe(StrictModel):
    """One of several identity-disjoint parts of a data set; identities are shuffled by the seed and dealt in turn."""

    fold: int = Field(ge=0)
    folds: int = Field(ge=2)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _exists(self) -> "FoldRecipe":
        if self.fold >= self.folds:
            raise ValueError("fold counts from 0 and must be less than folds")
        return self


class LeftOut(StrictModel):
    """A file of a data set that takes no part, and why.

    Attributes:
        path: as the manifest names it, or any end of its path that names no other file.
        reason: for the reader of the recipe.
    """

    path: Path
    reason: str = Field(min_length=1)


class DatasetRecipe(StrictModel):
    """One data set, or a part of one.

    Attributes:
        corpus: whose identities these are; data sets of one corpus share them, and parts must not overlap.
        domain: recording conditions; accuracy is reported per domain.
        layout: csv, folder (one per identity), kaldi (wav.scp, utt2spk), voxceleb (id12345/video/clip), cnceleb,
            webdataset (tar files), or generator (made recordings).
        path: the CSV file (csv) or folder (the others), relative to where the command runs; of the generator, a folder
            of its own, which it fills.
        generator: generator only: what is made.
        path_column: csv only.
        subject_column: of csv, or the key of webdataset's JSON objects.
        where: csv only: column -> value a row must have.
        clip_parts: cut each clip into this many equal samples of its identity, or into these shares, which make 1.
        leave_out: files that take no part.
        folds: keep one identity-disjoint part.
        trials: validation only: a list of the pairs to compare (`label path path`); all pairs where not given.
        balanced_pairs: validation only: draw this many mated and as many non-mated pairs instead of all.
        source: where the data come from, for the bundle.
        licence: of the data, for the bundle.
    """

    corpus: str = Field(min_length=1)
    domain: str = Field(min_length=1)
    layout: Literal["csv", "folder", "kaldi", "voxceleb", "cnceleb", "webdataset", "generator"]
    path: Path
    # left out of records where there is none: projections that were fitted before it keep theirs
    generator: GeneratorRecipe | None = Field(default=None, exclude_if=lambda value: value is None)
    path_column: str = "path"
    subject_column: str = "speaker"
    where: dict[str, str] = Field(default_factory=dict)
    clip_parts: EqualParts | Shares = 1
    leave_out: tuple[LeftOut, ...] = ()
    folds: FoldRecipe | None = None
    trials: Path | None = None
    balanced_pairs: int | None = Field(default=None, ge=1)
    source: str = "not stated"
    licence: str = "not stated"

    @model_validator(mode="after")
    def _agrees(self) -> "DatasetRecipe":
        if not isinstance(self.clip_parts, int) and abs(sum(self.clip_parts) - 1.0) > SHARES_TOLERANCE:
            raise ValueError("the shares of clip_parts must make 1")
        if self.trials is not None and self.balanced_pairs is not None:
            raise ValueError("give trials or balanced_pairs, not both")
        if self.where and self.layout != "csv":
            raise ValueError("where filters rows of the csv layout only")
        if (self.generator is not None) != (self.layout == "generator"):
            raise ValueError("layout: generator and a section `generator` belong together")
        return self
