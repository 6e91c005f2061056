"""The recipe of `task: enhancer`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from matchka_train.backbones.face.enhancer_file import EnhancerParts
from matchka_train.datasets.recipe import DatasetRecipe, FoldRecipe
from matchka_train.fitting.enhancer.recipe import EnhancerLossRecipe, EnhancerOptimisation, ProbeRecipe
from matchka_train.modalities import AnyBackboneRecipe
from matchka_train.run.recipe import ConfirmedPair, have_files
from matchka_train.strict_model import StrictModel

HELD_OUT = FoldRecipe(fold=0, folds=8, seed=1)


class EnhancerDataRecipe(StrictModel):
    """What is trained on, and what is reported.

    Attributes:
        train: data sets of pictures.
        held_out: the people of `train` that are not trained on and choose among the looks.
        validation: data sets, of other people, that only report.
        cache_dir: folder of the feature cache.
        confirmed_copies: pairs of files that seem to hold the same and are all the same to be used; ends of paths.
    """

    train: tuple[DatasetRecipe, ...] = Field(min_length=1)
    held_out: FoldRecipe = HELD_OUT
    validation: tuple[DatasetRecipe, ...] = Field(min_length=1)
    cache_dir: Path = Path("build/features")
    confirmed_copies: tuple[ConfirmedPair, ...] = ()

    def is_confirmed_copy(self, one: Path, other: Path) -> bool:
        """Whether `confirmed_copies` has two files."""
        return have_files(self.confirmed_copies, one, other)


class EnhancerRecipe(StrictModel):
    """A whole training run.

    Attributes:
        task: what is trained.
        name: of the enhancer; also of the checkpoint's folder.
        seed: fixes every random choice.
        backbone: the frozen network that it is trained through.
        projection: file of the projection behind it, which judges; None takes the backbone's own components.
        dims: dims judged at, rising.
        sizes_px: sizes judged at.
        choosing_px: those of them that choose among the looks.
        data: data sets.
        network: its parts.
        start: file of an enhancer with these parts, trained through this backbone, to go on from; None starts with a
            network that changes nothing.
        probes: how small samples are made.
        loss: weights of the losses.
        optimisation: how it is trained.
        output_dir: folder of the checkpoint.
    """

    task: Literal["enhancer"]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    seed: int = Field(default=0, ge=0)
    backbone: AnyBackboneRecipe
    projection: Path | None = None
    dims: tuple[int, ...] = Field(min_length=1)
    sizes_px: tuple[float, ...] = (16.0, 24.0, 32.0)
    choosing_px: tuple[float, ...] = (16.0, 24.0)
    data: EnhancerDataRecipe
    network: EnhancerParts = EnhancerParts()
    start: Path | None = None
    probes: ProbeRecipe = ProbeRecipe()
    loss: EnhancerLossRecipe = EnhancerLossRecipe()
    optimisation: EnhancerOptimisation = EnhancerOptimisation()
    output_dir: Path

    @model_validator(mode="after")
    def _rises(self) -> "EnhancerRecipe":
        for name in ("dims", "sizes_px"):
            values = list(getattr(self, name))
            if values != sorted(set(values)) or not values or values[0] <= 0:
                raise ValueError(f"{name} must be above 0 and rise, without repeats")
        return self
