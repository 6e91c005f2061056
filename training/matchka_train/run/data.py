"""The data sets of a recipe, read and checked: what counts as evidence is nobody's copy, and in one role only."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from rich.progress import Progress

from matchka_train.datasets.content import hash_files, require_distinct_content
from matchka_train.datasets.reader import read_datasets
from matchka_train.datasets.recipe import DatasetRecipe, FoldRecipe
from matchka_train.datasets.sample import Sample
from matchka_train.datasets.splits import flat, identity_fold, require_disjoint
from matchka_train.errors import RecipeError
from matchka_train.features.near_copies import find_near_copies, require_no_near_copies
from matchka_train.modalities.copies import CopyFinder


class DataSetsRecipe(Protocol):
    """What reading data sets needs of a recipe's `data`.

    Attributes:
        train: data sets that are trained on.
        validation: data sets, of other identities, that judge.
    """

    @property
    def train(self) -> Sequence[DatasetRecipe]: ...  # noqa: D102 - described above
    @property
    def validation(self) -> Sequence[DatasetRecipe]: ...  # noqa: D102

    def is_confirmed_copy(self, one: Path, other: Path) -> bool:
        """Whether two files that seem to hold the same are known and to be used all the same."""
        ...


@dataclass(frozen=True)
class DataSets:
    """Samples that passed every check of the files.

    Attributes:
        recipe: which data sets they are.
        train: of each that is trained on.
        validation: of each that judges.
        hashes: file -> sha256 of its bytes.
    """

    recipe: DataSetsRecipe
    train: list[list[Sample]]
    validation: list[list[Sample]]
    hashes: dict[Path, str]

    def contents(self) -> dict[str, str]:
        """What each data set holds, names of files aside: `train.0` and so on -> a sha256."""
        return {
            f"{use}.{number}": self._content_of(recipe, samples)
            for use, recipes, sets in (
                ("train", self.recipe.train, self.train),
                ("validation", self.recipe.validation, self.validation),
            )
            for number, (recipe, samples) in enumerate(zip(recipes, sets, strict=True))
        }

    def _content_of(self, recipe: DatasetRecipe, samples: Sequence[Sample]) -> str:
        trials = None if recipe.trials is None else hashlib.sha256(recipe.trials.read_bytes()).hexdigest()
        listed = [[self.hashes[one.path], one.part, one.parts, one.subject, one.domain] for one in samples]
        content: list[Any] = [trials, listed]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def read_data(
    recipe: DataSetsRecipe, finder: CopyFinder | None, cache_dir: Path | None, progress: Progress
) -> DataSets:
    """Read the data sets of a recipe; refuse what would count one recording, or one person, twice.

    Args:
        recipe: the data sets.
        finder: how copies of this kind of sample are found; None where only the same bytes are.
        cache_dir: keeps fingerprints; None takes them anew.
        progress: shows how far it is.

    Raises:
        DatasetError: one is not laid out as its recipe says.
        IdentityOverlapError: an identity, a file, or a copy of one is both trained on and validated on.
        DuplicateSampleError: a recording counts as several samples, or as several people.
        DiskFullError: no space left.
    """
    train, validation = read_datasets(recipe.train), read_datasets(recipe.validation)
    require_disjoint(flat(train), flat(validation))
    hashes = hash_files([*flat(train), *flat(validation)], progress)
    require_distinct_content(train, validation, hashes)
    find = partial(find_near_copies, finder=finder, cache_dir=cache_dir, progress=progress)
    require_no_near_copies(train, validation, find, hashes, recipe.is_confirmed_copy)
    return DataSets(recipe, train, validation, hashes)


def hold_out(samples: list[Sample], fold: FoldRecipe) -> tuple[list[Sample], list[Sample]]:
    """Those of training's people who are trained on, and those who are not and choose.

    Raises: RecipeError: nobody is left of the one or the other.
    """
    held_out = identity_fold(samples, fold.fold, fold.folds, fold.seed)
    choosing = {sample.subject for sample in held_out}
    fitted = [sample for sample in samples if sample.subject not in choosing]
    if not held_out or not fitted:
        raise RecipeError(
            "Nobody is left to train on, or to choose.",
            value=f"{len(fitted)} and {len(held_out)} samples",
            remedy="Lower data.held_out.folds, or add people.",
        )
    return fitted, held_out


def by_domain(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Samples of each domain, in their order."""
    domains: dict[str, list[Sample]] = {}
    for sample in samples:
        domains.setdefault(sample.domain, []).append(sample)
    return domains
