"""How many people and samples an adoption needs and has, and how it divides them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from matchka_export.errors import TooLittleDataError
from matchka_export.gate.gate import RULE
from matchka_train.datasets.reader import read_dataset
from matchka_train.datasets.recipe import DatasetRecipe, FoldRecipe
from matchka_train.datasets.sample import Sample
from matchka_train.errors import DatasetError

LEAST_PEOPLE: Final = RULE.least_units  # held out in each domain: the gate refuses to decide on fewer
LEAST_MATED_PAIRS: Final = RULE.least_trials  # of them, likewise
FEWEST_FOLDS, MOST_FOLDS = 2, 4  # one of them is held out: between half and a quarter of the people


@dataclass(frozen=True)
class Counted:
    """What some samples amount to.

    Attributes:
        people: distinct identities.
        samples: recordings or pictures.
        mated_pairs: pairs of samples of one person.
    """

    people: int
    samples: int
    mated_pairs: int


@dataclass(frozen=True)
class Domain:
    """One data set, divided by people.

    Attributes:
        dataset: the whole.
        train: the parts that are trained on.
        validation: the part that is held out.
        trained: what the former amount to.
        held_out: what the latter amounts to.
    """

    dataset: DatasetRecipe
    train: tuple[DatasetRecipe, ...]
    validation: DatasetRecipe
    trained: Counted
    held_out: Counted

    @property
    def is_enough(self) -> bool:
        """Whether the gate will decide on it."""
        return self.held_out.people >= LEAST_PEOPLE and self.held_out.mated_pairs >= LEAST_MATED_PAIRS


def count(samples: Sequence[Sample]) -> Counted:
    """Count people, samples and mated pairs."""
    per_person = Counter(sample.subject for sample in samples)
    return Counted(len(per_person), len(samples), sum(n * (n - 1) // 2 for n in per_person.values()))


def folds_for(people: int) -> int:
    """In how many parts people are dealt, one of which is held out: as many as leave it enough.

    >>> [folds_for(people) for people in (30, 149, 150, 1000)]
    [2, 2, 3, 4]
    """
    return min(MOST_FOLDS, max(FEWEST_FOLDS, people // LEAST_PEOPLE))


def divide(dataset: DatasetRecipe, seed: int) -> Domain:
    """Deal the people of a data set by the seed: the first part is held out, the others are trained on.

    Raises:
        DatasetError: it is not laid out as it says.
        TooLittleDataError: fewer than two people, or nobody of a part has a second sample.
    """
    try:
        folds = folds_for(count(read_dataset(dataset)).people)
        parts = [_part(dataset, fold, folds, seed) for fold in range(folds)]
        held_out, *trained = [read_dataset(part) for part in parts]
    except DatasetError as error:
        raise TooLittleDataError(error.detail, value=error.value, remedy=f"{error.remedy} {_NEEDS}") from error
    joined = count([sample for samples in trained for sample in samples])
    return Domain(dataset, tuple(parts[1:]), parts[0], joined, count(held_out))


def require_enough(domains: Sequence[Domain]) -> None:
    """Refuse data on which the gate would decide nothing, before anything is fetched or computed.

    Raises: TooLittleDataError: names the domain, what it has and what it needs.
    """
    for domain in domains:
        if not domain.is_enough:
            has = domain.held_out
            raise TooLittleDataError(
                f"{domain.dataset.path} is too little to decide on: {LEAST_PEOPLE} people with {LEAST_MATED_PAIRS} "
                f"mated pairs have to be held out.",
                value=f"{has.people} people, {has.mated_pairs} mated pairs",
                remedy=_NEEDS,
            )


def _part(dataset: DatasetRecipe, fold: int, folds: int, seed: int) -> DatasetRecipe:
    return dataset.model_copy(update={"folds": FoldRecipe(fold=fold, folds=folds, seed=seed)})


_NEEDS: Final = (
    f"Bring {FEWEST_FOLDS * LEAST_PEOPLE} people or more, with four samples each (half of them, 300 pairs, are held "
    "out), or cut long recordings with --clip-parts 2."
)
