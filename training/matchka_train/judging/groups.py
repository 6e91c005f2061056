"""Error rates of groups of people, beside each other: who is let in and who is kept out at the same threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from matchka_train.datasets.layouts.csv import read_identity_column
from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.errors import DatasetError
from matchka_train.metrics.error_rates import equal_error_rate
from matchka_train.metrics.pairs import PairSimilarities

MOST_VALUES: Final = 6  # a column of numbers with more is cut into ranges
RANGES: Final = 4


@dataclass(frozen=True)
class RateAt:
    """What one threshold does to a group.

    Attributes:
        fmr: false match rate that the threshold is for.
        threshold: on the cosine scale, the same for every group.
        measured_fmr: of pairs of two people of the group; None without such a pair.
        measured_fnmr: of pairs of one person of the group; None without such a pair.
    """

    fmr: float
    threshold: float
    measured_fmr: float | None
    measured_fnmr: float | None


@dataclass(frozen=True)
class GroupRates:
    """Error rates among the people of one group; pairs across groups are left out.

    Attributes:
        domain: of the data.
        dim: compared.
        group: value of the column, or a range of its values.
        subjects: people of the group.
        mated_pairs: pairs of samples of one of them.
        non_mated_pairs: pairs of samples of two of them.
        eer: None without pairs of both kinds.
        rates: at each threshold.
    """

    domain: str
    dim: int
    group: str
    subjects: int
    mated_pairs: int
    non_mated_pairs: int
    eer: float | None
    rates: tuple[RateAt, ...]


def read_groups(data: Sequence[DatasetRecipe], column: str) -> dict[str, str]:
    """The group of every identity (`corpus/identity`) of the data sets that have the column.

    A column of numbers with more than six values is cut into four ranges that hold about equally many people; people
    of whom the column says nothing are left out.

    Raises: DatasetError: no data set has it, or an identity has two values.
    """
    values = {
        f"{dataset.corpus}/{identity}": value
        for dataset in data
        if dataset.layout == "csv"
        for identity, value in read_identity_column(dataset.path, dataset.subject_column, column, dataset.where).items()
        if value
    }
    if not values:
        raise DatasetError("No data set has such a column.", value=column, remedy="Group by a column of a CSV file.")
    return _in_ranges(values)


def group_rates(
    domain: str,
    dim: int,
    pairs: PairSimilarities,
    subjects: Sequence[str],
    groups: Mapping[str, str],
    points: Sequence[tuple[float, float]],
) -> list[GroupRates]:
    """The rates of every group that somebody in these pairs belongs to.

    Args:
        domain: of the pairs.
        dim: that they were compared at.
        pairs: of all subjects.
        subjects: the subject of each sample; numbers in `pairs` count their sorted names.
        groups: subject -> group; others are left out.
        points: false match rates and their thresholds.
    """
    names = sorted(set(subjects))
    found = []
    for group in sorted({groups[name] for name in names if name in groups}, key=_sort_key):
        members = np.array([groups.get(name) == group for name in names])
        own = pairs.within(members)
        both = own.mated.size and own.non_mated.size
        found.append(
            GroupRates(
                domain,
                dim,
                group,
                int(members.sum()),
                int(own.mated.size),
                int(own.non_mated.size),
                equal_error_rate(own.mated, own.non_mated) if both else None,
                tuple(_rate_at(own, fmr, threshold) for fmr, threshold in points),
            )
        )
    return found


def _rate_at(pairs: PairSimilarities, fmr: float, threshold: float) -> RateAt:
    return RateAt(
        fmr,
        threshold,
        float(np.mean(pairs.non_mated >= threshold)) if pairs.non_mated.size else None,
        float(np.mean(pairs.mated < threshold)) if pairs.mated.size else None,
    )


def _in_ranges(values: Mapping[str, str]) -> dict[str, str]:
    try:
        numbers = {identity: float(value) for identity, value in values.items()}
    except ValueError:
        return dict(values)
    if len(set(numbers.values())) <= MOST_VALUES:
        return dict(values)
    edges = np.unique(np.quantile(list(numbers.values()), np.linspace(0, 1, RANGES + 1)[1:-1], method="higher"))
    part = {identity: int(np.searchsorted(edges, number, side="right")) for identity, number in numbers.items()}
    names = {
        place: _range_name([number for identity, number in numbers.items() if part[identity] == place])
        for place in set(part.values())
    }
    return {identity: names[place] for identity, place in part.items()}


def _range_name(numbers: Sequence[float]) -> str:
    least, largest = min(numbers), max(numbers)
    return f"{least:g}" if least == largest else f"{least:g}-{largest:g}"


def _sort_key(group: str) -> tuple[float, str]:
    first = group.partition("-")[0]
    return (float(first) if first.replace(".", "", 1).isdigit() else np.inf, group)
