"""Runs the ablation: every arm with every seed, on windows that the arms of a seed share."""

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from pydantic import Field
from rich.progress import Progress

from matchka_train.datasets.generator.recordings import Draw
from matchka_train.experiments.radio.arms import ARMS
from matchka_train.experiments.results import RunFolder
from matchka_train.fitting.network.accuracy import NetworkAccuracy, measure_network
from matchka_train.fitting.network.recipe import NetworkRecipe
from matchka_train.fitting.network.training import DrawWindows, train_network
from matchka_train.fitting.network.windows import draw_windows
from matchka_train.strict_model import StrictModel


class RadioRecipe(StrictModel):
    """One experiment; every arm has all values but its own of one training.

    Attributes:
        seeds: every arm is run with each.
        epochs: of each run.
        windows_per_epoch: trained on, all of them new.
        test_windows: that judge, the same for all.
        channels: of the networks' convolutions, and of their LSTM.
        bfloat16: compute in 16 bits.
    """

    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    epochs: int = Field(default=6, ge=1)
    windows_per_epoch: int = Field(default=10_560, ge=256)
    test_windows: int = Field(default=22_000, ge=220)
    channels: int = Field(default=32, ge=4)
    bfloat16: bool = False


@dataclass(frozen=True)
class RadioRun:
    """One arm with one seed.

    Attributes:
        arm: a name of ARMS.
        seed: of start and windows.
        found: on the test windows.
    """

    arm: str
    seed: int
    found: NetworkAccuracy


@dataclass(frozen=True)
class Radio:
    """What the experiment found. Attributes: recipe: of it. runs: of every arm with every seed."""

    recipe: RadioRecipe
    runs: tuple[RadioRun, ...]

    def of(self, arm: str) -> list[NetworkAccuracy]:
        """What an arm reached, seed by seed."""
        return [run.found for run in self.runs if run.arm == arm]


def run_radio(recipe: RadioRecipe, output_dir: Path, progress: Progress) -> Radio:
    """Run every arm with every seed; finished runs of an interrupted experiment are kept.

    Args:
        recipe: the experiment.
        output_dir: folder of its runs.
        progress: shows how far it is.
    """
    folder = RunFolder(output_dir, recipe.model_copy(update={"seeds": (0,)}))
    task = progress.add_task("runs", total=len(ARMS) * len(recipe.seeds))
    runs = []
    for seed in recipe.seeds:
        draw: DrawWindows = lru_cache(maxsize=recipe.epochs + 1)(draw_windows)
        for number, arm in enumerate(ARMS):
            compute = partial(_run, recipe, arm, seed, draw)
            runs.append(folder.kept_or(f"arm-{number}-seed-{seed}", RadioRun, compute))
            progress.advance(task)
    return Radio(recipe, tuple(runs))


def training_of(recipe: RadioRecipe, arm: str, seed: int) -> NetworkRecipe:
    """The training of one arm."""
    own = ARMS[arm]
    sizes = {"channels": recipe.channels, "recurrent": recipe.channels}
    return NetworkRecipe.model_validate(
        {**own, "network": {**sizes, **own["network"]}}
        | {
            "seed": seed,
            "epochs": recipe.epochs,
            "windows_per_epoch": recipe.windows_per_epoch,
            "bfloat16": recipe.bfloat16,
        }
    )


def _run(recipe: RadioRecipe, arm: str, seed: int, draw: DrawWindows) -> RadioRun:
    training = training_of(recipe, arm, seed)
    network = train_network(training, lambda _epoch, _loss: None, draw)
    windows = draw(training.modulations, recipe.test_windows, Draw(0, "test"))
    return RadioRun(arm, seed, measure_network(network, training.modulations, windows))
