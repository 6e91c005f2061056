"""An autoencoder of settings with a contrastive loss: on raw scales, and with each of three cures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from pydantic import Field
from pytorch_metric_learning.losses import SupConLoss
from rich.progress import Progress
from torch import Tensor, nn

from matchka_train.backbones.tabular.equalizer import EqualizerFeatures
from matchka_train.heads.words.fit import backbone_of
from matchka_train.heads.words.judging.folds import MOST_ROWS
from matchka_train.heads.words.recipe import WordsRecipe
from matchka_train.heads.words.table import Presets, read_presets, split_by_contributor
from matchka_train.metrics.clusters import davies_bouldin, silhouette
from matchka_train.strict_model import StrictModel

Arm = Literal["raw scales", "log scales", "weighted losses", "clamped outputs"]
ARMS: Final[tuple[Arm, ...]] = ("raw scales", "log scales", "weighted losses", "clamped outputs")
HZ_WEIGHT: Final = 1e-4  # of a squared error in Hz, as the report that the experiment repeats proposes
FOLD: Final = 1  # whose contributors judge
LOG_EVERY: Final = 20  # steps


class EqualizerRecipe(StrictModel):
    """The experiment. Attributes: hidden, code: units; steps, batch, rate: of training; temperature: of SupCon."""

    seeds: tuple[int, ...] = (0, 1, 2)
    hidden: int = Field(default=64, ge=1)
    code: int = Field(default=8, ge=2)
    steps: int = Field(default=600, ge=1)
    batch: int = Field(default=128, ge=4)
    rate: float = Field(default=1e-3, gt=0)
    temperature: float = Field(default=0.1, gt=0)


@dataclass(frozen=True)
class Run:
    """One arm with one seed; what is measured is of contributors that it was not trained on.

    Attributes:
        arm: which.
        seed: of everything.
        shuffled: whether the words were dealt to the rows at random.
        reconstruction: its loss, in the arm's own units, every LOG_EVERY steps.
        contrastive: its loss at the same steps.
        silhouette: of the two words, by cosine distance of codes.
        davies_bouldin: of the two words, codes of unit length.
        error_db: RMS of the response curve of what is decoded, cut to the ranges.
        outside: share of decoded numbers that lie outside their ranges.
        highest_hz: the highest frequency that is decoded.
        curves: word -> response in dB of the word's mean code, decoded and cut to the ranges.
    """

    arm: Arm
    seed: int
    shuffled: bool
    reconstruction: tuple[float, ...]
    contrastive: tuple[float, ...]
    silhouette: float
    davies_bouldin: float
    error_db: float
    outside: float
    highest_hz: float
    curves: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class EqualizerRuns:
    """What the experiment found. Attributes: grid_hz: of curves; rows, contributors: that judge; runs: of all arms."""

    grid_hz: tuple[float, ...]
    rows: int
    contributors: int
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class _Scales:
    """How an arm sees numbers, and what it does with what the network returns."""

    inputs: Callable[[Tensor], Tensor]
    targets: Callable[[Tensor], Tensor]
    values: Callable[[Tensor], Tensor]
    outputs: Callable[[Tensor], Tensor]
    weights: Tensor


def run_equalizer(recipe: WordsRecipe, wanted: EqualizerRecipe, progress: Progress) -> EqualizerRuns:
    """Train every arm with every seed, on true words and on words dealt at random.

    Args:
        recipe: data, numbers and filters.
        wanted: network and training.
        progress: shows how far it is.

    Raises: DatasetError: no table. NoTrialsError: too few rows of the two words among those that judge.
    """
    train, held = split_by_contributor(read_presets(recipe), recipe.table.folds, FOLD)
    train, held = train.of_words(recipe.words), held.of_words(recipe.words).at_most(MOST_ROWS, recipe.seed)
    features = backbone_of(recipe).module()
    task = progress.add_task("arms", total=len(ARMS) * len(wanted.seeds) * 2)
    runs = []
    for arm in ARMS:
        for seed in wanted.seeds:
            for shuffled in (False, True):
                runs.append(_run(recipe, wanted, features, train, held, arm, seed, shuffled))
                progress.advance(task)
    grid = tuple(features.response.grid.tolist())
    return EqualizerRuns(grid, len(held.words), len(set(held.contributors.tolist())), tuple(runs))


def _run(
    recipe: WordsRecipe,
    wanted: EqualizerRecipe,
    features: EqualizerFeatures,
    train: Presets,
    held: Presets,
    arm: Arm,
    seed: int,
    shuffled: bool,
) -> Run:
    torch.manual_seed(seed)
    values = torch.tensor(train.values, dtype=torch.float32)
    labels = torch.tensor(train.words == recipe.words[1]).long()
    if shuffled:
        labels = labels[torch.randperm(len(labels))]
    weights = torch.tensor(train.weights(recipe.cap), dtype=torch.float32)
    scales = _scales(arm, recipe, features, values)
    fields = values.shape[1]
    encoder = nn.Sequential(nn.Linear(fields, wanted.hidden), nn.ReLU(), nn.Linear(wanted.hidden, wanted.code))
    decoder = nn.Sequential(nn.Linear(wanted.code, wanted.hidden), nn.ReLU(), nn.Linear(wanted.hidden, fields))
    contrast = SupConLoss(temperature=wanted.temperature)
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], wanted.rate)
    reconstruction, contrastive = [], []
    for step in range(wanted.steps):
        drawn = torch.multinomial(weights, wanted.batch, replacement=True)
        code = encoder(scales.inputs(values[drawn]))
        off = scales.outputs(decoder(code)) - scales.targets(values[drawn])
        losses = (scales.weights * off.square()).mean(), contrast(code, labels[drawn])
        optimiser.zero_grad()
        torch.autograd.backward(losses[0] + losses[1])
        optimiser.step()
        if step % LOG_EVERY == 0:
            reconstruction.append(float(losses[0].detach()))
            contrastive.append(float(losses[1].detach()))
    with torch.no_grad():
        judging = torch.tensor(held.values, dtype=torch.float32)
        code = encoder(scales.inputs(judging))
        decoded = scales.values(scales.outputs(decoder(code)))
        unit = nn.functional.normalize(code, dim=1).double().numpy()
        means = {word: encoder(scales.inputs(values[train.words == word])).mean(dim=0) for word in recipe.words}
        curves = {word: scales.values(scales.outputs(decoder(mean[None]))) for word, mean in means.items()}
        low, high = (torch.tensor([getattr(each, end) for each in recipe.fields]) for end in ("low", "high"))
        slack = 1e-5 * (high - low)  # rounding is not out of range
        shown = features.response(decoded.clamp(low, high)) - features.response(judging)
        return Run(
            arm=arm,
            seed=seed,
            shuffled=shuffled,
            reconstruction=tuple(reconstruction),
            contrastive=tuple(contrastive),
            silhouette=silhouette(1 - unit @ unit.T, held.words),
            davies_bouldin=davies_bouldin(unit, held.words),
            error_db=float(shown.square().mean(dim=1).sqrt().mean()),
            outside=float(((decoded < low - slack) | (decoded > high + slack)).float().mean()),
            highest_hz=float(decoded[:, [each.unit == "Hz" for each in recipe.fields]].max()),
            curves={
                word: tuple(features.response(found.clamp(low, high))[0].tolist()) for word, found in curves.items()
            },
        )


def _scales(arm: Arm, recipe: WordsRecipe, features: EqualizerFeatures, values: Tensor) -> _Scales:
    mean, spread = values.mean(dim=0), values.std(dim=0) + 1e-9
    low, high = (torch.tensor([getattr(each, end) for each in recipe.fields]) for end in ("low", "high"))
    ones = torch.ones(len(recipe.fields))
    is_hz = torch.tensor([each.unit == "Hz" for each in recipe.fields])

    def same(numbers: Tensor) -> Tensor:
        return numbers

    def standard(numbers: Tensor) -> Tensor:
        return (numbers - mean) / spread

    def unclamped(places: Tensor) -> Tensor:
        """Values of places, beyond the ranges where the places are."""
        within = features.values(places)
        return torch.where(places.abs() <= 1, within, within + (places - places.clamp(-1, 1)) * (high - low) / 2)

    known: Mapping[Arm, _Scales] = {
        "raw scales": _Scales(standard, same, same, same, ones),
        "log scales": _Scales(features.places, features.places, unclamped, same, ones),
        "weighted losses": _Scales(standard, same, same, same, torch.where(is_hz, HZ_WEIGHT, 1.0)),
        "clamped outputs": _Scales(standard, same, same, lambda found: low + torch.sigmoid(found) * (high - low), ones),
    }
    return known[arm]


def mean_of(runs: list[Run], value: Callable[[Run], float]) -> float:
    """The mean of a figure over runs."""
    return float(np.mean([value(run) for run in runs]))
