"""Are promised rates kept on people never seen? Thresholds set on half of the people, tried on the other half."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import Field
from rich.progress import Progress

from matchka.bundles.bundle import read_bundle
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka_train.datasets.reader import read_dataset
from matchka_train.errors import NoTrialsError
from matchka_train.evaluation.decisions import REFERENCES_PER_SUBJECT, reference_owners, template_pairs
from matchka_train.evaluation.validation import scored_by_domain
from matchka_train.experiments.results import RunFolder
from matchka_train.experiments.searches import Searches, search_galleries
from matchka_train.features.extraction import extract_features
from matchka_train.judging.models import open_model
from matchka_train.metrics.calibration import thresholds_at
from matchka_train.metrics.identity_bootstrap import RESAMPLES
from matchka_train.metrics.impostor_tails import RankedImpostors, gallery_thresholds
from matchka_train.metrics.scored_embeddings import Embeddings
from matchka_train.run.recipe import Recipe
from matchka_train.strict_model import StrictModel

RULES: Final = ("plain", "bound")

Embedded = Mapping[str, tuple[Embeddings, list[str]]]  # domain -> clip embeddings (n, full_dim), n subjects


class PromisesRecipe(StrictModel):
    """What is tried.

    Attributes:
        splits: halvings of the people; each half sets thresholds once and is tried once.
        templates: samples in a reference.
        fmrs: false match rates asked for, falling.
        fpirs: false positive identification rates asked for, falling.
        gallery: subjects in the small galleries; the large ones hold all unseen people but the one who is looked for.
        modelled_gallery: subjects in galleries larger than there are people, by the unseen people's own tails.
        galleries_drawn: of each size.
        resamples: draws of people behind each threshold.
        least_people: with a reference; a bundle states points from 30 on.
        seed: of all draws.
    """

    splits: int = Field(default=20, ge=1)
    templates: tuple[int, ...] = (1, 3, 10)
    fmrs: tuple[float, ...] = (1e-1, 1e-2, 1e-3)
    fpirs: tuple[float, ...] = (5e-2, 1e-2)
    gallery: int = Field(default=10, ge=1)
    modelled_gallery: int = Field(default=1000, ge=1)
    galleries_drawn: int = Field(default=10, ge=1)
    resamples: int = Field(default=RESAMPLES, ge=1)
    least_people: int = Field(default=10, ge=2)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Cell:
    """One rate asked for, and what became of it on the people who did not set the threshold, half by half.

    Attributes:
        model: whose embeddings.
        domain: of the people.
        dim: compared.
        templates: in a reference.
        people: who set the threshold: least and most of the halves.
        owners: those of them with a reference, on average.
        gallery: subjects searched; 0: one probe against one reference.
        modelled: whether the rate is computed from tails, in galleries larger than there are people.
        asked: rate.
        achieved: rule -> the rate in each half; "plain" is the threshold without the bound.
        missed: rule -> share of mated probes that are not matched, or not found.
    """

    model: str
    domain: str
    dim: int
    templates: int
    people: tuple[int, int]
    owners: float
    gallery: int
    modelled: bool
    asked: float
    achieved: dict[str, list[float]]
    missed: dict[str, list[float]]

    def mean(self, rule: str) -> float:
        """Mean rate as a multiple of the one asked for."""
        return float(np.mean(self.achieved[rule])) / self.asked

    def kept(self, rule: str) -> float:
        """Share of halves in which the rate is at most 1.5 times the one asked for."""
        return float(np.mean(np.asarray(self.achieved[rule]) <= 1.5 * self.asked))

    def price(self, rule: str) -> float:
        """Mean share of mated probes missed."""
        return float(np.mean(self.missed[rule]))


@dataclass(frozen=True)
class Promises:
    """What was found.

    Attributes:
        recipe: what was tried.
        selected_on: model -> what the people decided before, as its bundle says.
        cells: of all models.
    """

    recipe: PromisesRecipe
    selected_on: dict[str, str]
    cells: list[Cell]


@dataclass(frozen=True)
class _Outcome:
    """One rate in one half: rule -> achieved, missed."""

    gallery: int
    modelled: bool
    asked: float
    rates: dict[str, tuple[float, float]]


def run_promises(
    recipes: Sequence[Recipe], models: Path, data: Path | None, wanted: PromisesRecipe, out: Path, progress: Progress
) -> Promises:
    """Try the bundles of recipes on the recipes' own validation people, at full dim.

    Args:
        recipes: how the bundles were trained; each names its bundle.
        models: folder of the bundles.
        data: folder of the data sets, each in the folder that it lies in now; None where the recipes say.
        wanted: what is tried.
        out: keeps what is finished.
        progress: shows how far it is.

    Raises: MatchkaError: no such bundle, or data that are not there.
    """
    cells: list[Cell] = []
    selected_on = {}
    for recipe in recipes:
        model = open_model(models / recipe.name)
        output = read_bundle(models / recipe.name).manifest.output(EmbeddingOutput)
        selected_on[recipe.name] = _selected_on(output)
        features = []
        for dataset in recipe.data.validation:
            path = dataset.path if data is None else data / dataset.path.parent.name / dataset.path.name
            samples = read_dataset(dataset.model_copy(update={"path": path}))
            features.append(
                extract_features(samples, model.backbone, recipe.data.cache_dir, progress, recipe.data.limits)
            )
        embedded = scored_by_domain(model.embed_windows, features, model.scorer)
        vectors = b"".join(rows.vectors.tobytes() for rows, _ in embedded.values())
        content = hashlib.sha256(vectors + output.scorer.model_dump_json().encode()).hexdigest()[:16]
        compute = partial(try_promises, recipe.name, embedded, model.dims[-1], wanted, progress)
        cells += RunFolder(out, wanted).kept_or(f"{recipe.name}-{content}", list[Cell], compute)
    return Promises(wanted, selected_on, cells)


def _selected_on(output: EmbeddingOutput) -> str:
    promise = output.per_dim[str(output.full_dim)].promise
    return "not recorded" if promise is None else promise.selected_on


def try_promises(model: str, embedded: Embedded, dim: int, wanted: PromisesRecipe, progress: Progress) -> list[Cell]:
    """Set thresholds on each half of the people of every domain, and try them on the other half.

    Args:
        model: its name.
        embedded: clips of people who neither trained nor selected anything.
        dim: compared.
        wanted: what is tried.
        progress: shows how far it is.

    Returns: cells of every domain and number of templates that enough people of both halves have samples for.
    """
    cells: list[Cell] = []
    for domain, (embeddings, subjects) in embedded.items():
        task = progress.add_task(f"{model}, {domain}", total=2 * wanted.splits * len(wanted.templates))
        names = np.asarray(subjects)
        halves = list(_halves(names, wanted))
        sizes = [len(np.unique(names[own])) for own, _ in halves]
        for templates in wanted.templates:
            found: list[list[_Outcome]] = []
            owners: list[int] = []
            for number, rows in enumerate(halves):
                setting, unseen = ((embeddings[half], names[half].tolist()) for half in rows)
                progress.advance(task)
                try:
                    found.append(_try_half(setting, unseen, dim, templates, wanted, wanted.seed + number))
                except NoTrialsError:
                    continue
                owners.append(reference_owners(setting[1], templates))
            if len(found) == len(halves):
                who = model, domain, dim, templates, (min(sizes), max(sizes)), float(np.mean(owners))
                cells += [_cell(who, same) for same in zip(*found, strict=True)]
    return cells


def _cell(who: tuple[str, str, int, int, tuple[int, int], float], halves: Sequence[_Outcome]) -> Cell:
    """The same rate in all halves; the large galleries of two halves may differ by one person."""
    return Cell(
        *who,
        gallery=max(outcome.gallery for outcome in halves),
        modelled=halves[0].modelled,
        asked=halves[0].asked,
        achieved={rule: [outcome.rates[rule][0] for outcome in halves] for rule in RULES},
        missed={rule: [outcome.rates[rule][1] for outcome in halves] for rule in RULES},
    )


def _halves(
    names: npt.NDArray[np.str_], wanted: PromisesRecipe
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Rows of both halves of the people, both ways round, split by split."""
    people = np.unique(names)
    generator = np.random.default_rng(wanted.seed)
    for _ in range(wanted.splits):
        first = np.isin(names, generator.permutation(people)[: len(people) // 2])
        yield np.flatnonzero(first), np.flatnonzero(~first)
        yield np.flatnonzero(~first), np.flatnonzero(first)


def _try_half(
    setting: tuple[Embeddings, list[str]],
    unseen: tuple[Embeddings, list[str]],
    dim: int,
    templates: int,
    wanted: PromisesRecipe,
    seed: int,
) -> list[_Outcome]:
    """Thresholds of one half on the other; the outcomes of all halves are in one order.

    Raises: NoTrialsError: too few people of a half have so many samples.
    """
    pairs, others = (template_pairs(*half, dim, templates, seed, wanted.least_people) for half in (setting, unseen))
    tried = search_galleries(*unseen, dim, templates, wanted.gallery, wanted.galleries_drawn, seed)
    sizes = [*sorted(tried), wanted.modelled_gallery]
    # what the service asks of pairs in a gallery of that size
    per_comparison = {(fpir, size): 1.0 - (1.0 - fpir) ** (1.0 / size) for fpir in wanted.fpirs for size in sizes}
    rates = tuple({*wanted.fmrs, *per_comparison.values()})
    points = {point.fmr: point for point in thresholds_at(pairs, seed, rates, resamples=wanted.resamples)}
    outcomes = []
    for fmr in wanted.fmrs:
        chosen = {"plain": points[fmr].estimate, "bound": points[fmr].threshold}
        verified = {
            rule: (float(np.mean(others.non_mated >= threshold)), float(np.mean(others.mated < threshold)))
            for rule, threshold in chosen.items()
        }
        outcomes.append(_Outcome(0, False, fmr, verified))
    impostors, own_tails = (
        RankedImpostors(*half, dim, templates, REFERENCES_PER_SUBJECT, seed, wanted.least_people)
        for half in (setting, unseen)
    )
    table = gallery_thresholds(impostors, wanted.fpirs, sizes, seed, wanted.resamples)
    tails = own_tails.fit(np.ones(own_tails.count, np.int64))
    for row, fpir in enumerate(wanted.fpirs):
        for column, size in enumerate(sizes):
            pair = points[per_comparison[fpir, size]]
            chosen = {
                "plain": max(pair.estimate, float(table.estimates[row, column])),
                "bound": max(pair.threshold, float(table.bounds[row, column])),
            }
            modelled = column == len(sizes) - 1
            searched = {
                rule: (tails.false_positive_rate(threshold, size), float(np.mean(others.mated < threshold)))
                if modelled
                else _searched(tried[size], threshold)
                for rule, threshold in chosen.items()
            }
            outcomes.append(_Outcome(size, modelled, fpir, searched))
    return outcomes


def _searched(searches: Searches, threshold: float) -> tuple[float, float]:
    if not searches.found.size:
        raise NoTrialsError("Nobody enrolled has a sample left to be found by.", remedy="Draw more galleries.")
    return float(np.mean(searches.impostors >= threshold)), float(np.mean(searches.found < threshold))
