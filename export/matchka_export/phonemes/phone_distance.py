"""How far apart two pronunciations are: a weighted edit distance between phones."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from matchka.vectors import FloatArray

INSERTION: Final = 1.0  # of a phone, or its loss
NEAR: Final = 0.5  # phones that recognisers, and ears, take for one another
FAR: Final = 1.5  # a vowel for a consonant
VOWELS: Final = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS: Final = (
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N"),
    *("NG", "P", "R", "S", "SH", "T", "TH", "V", "W", "Y", "Z", "ZH"),
)
# the same place with or without voice, the same manner at a neighbouring place
NEIGHBOURS: Final = (
    ("P", "B"),
    ("T", "D", "TH", "DH"),
    ("K", "G"),
    ("F", "V", "TH", "DH"),
    ("S", "Z", "SH", "ZH"),
    ("S", "Z", "TH", "DH"),
    ("CH", "JH", "SH", "ZH"),
    ("M", "N", "NG"),
    ("L", "R", "W", "Y"),
    ("B", "V", "W"),
)
PHONES: Final = tuple(sorted(VOWELS + CONSONANTS))  # of ARPABET, without stress


def substitution_costs() -> FloatArray:
    """What it costs to say one phone for another: (39, 39), symmetric, 0 on the diagonal, in the order of PHONES."""
    index = {phone: number for number, phone in enumerate(PHONES)}
    costs = np.ones((len(PHONES), len(PHONES)), np.float32)
    vowels, consonants = [index[phone] for phone in VOWELS], [index[phone] for phone in CONSONANTS]
    costs[np.ix_(vowels, vowels)] = NEAR
    costs[np.ix_(vowels, consonants)] = FAR
    costs[np.ix_(consonants, vowels)] = FAR
    for group in NEIGHBOURS:
        members = [index[phone] for phone in group]
        costs[np.ix_(members, members)] = NEAR
    np.fill_diagonal(costs, 0.0)
    return costs


class Pronunciations:
    """Pronunciations that grow in number, each new one compared with all before at once."""

    def __init__(self) -> None:
        self._costs = substitution_costs()
        self._index = {phone: number for number, phone in enumerate(PHONES)}
        self._said = np.zeros((0, 0), np.intp)  # padded to the longest
        self._lengths = np.zeros(0, np.intp)

    def add(self, phones: Sequence[str]) -> None:
        """Take one in. Raises: KeyError: a phone that is not one of PHONES."""
        count, longest = self._said.shape
        said = np.zeros((count + 1, max(longest, len(phones))), np.intp)
        said[:count, :longest] = self._said
        said[count, : len(phones)] = [self._index[phone] for phone in phones]
        self._said, self._lengths = said, np.append(self._lengths, len(phones))

    def nearest(self, phones: Sequence[str]) -> float:
        """Distance to the nearest one, infinite where there is none.

        >>> said = Pronunciations()
        >>> said.add("B EH R".split())
        >>> said.nearest("P EH R".split()), said.nearest("B EH R Z".split()), said.nearest("S EH R".split())
        (0.5, 1.0, 1.0)
        """
        if not self._lengths.size:
            return float("inf")
        numbers = [self._index[phone] for phone in phones]
        return float(_distances(numbers, self._said, self._lengths, self._costs).min())


def _distances(
    phones: Sequence[int], others: npt.NDArray[np.intp], lengths: npt.NDArray[np.intp], costs: FloatArray
) -> FloatArray:
    """Edit distances of one pronunciation from many, (others,): Wagner and Fischer's table, one row for all at once."""
    count, longest = others.shape
    row: FloatArray = np.tile(np.arange(longest + 1, dtype=np.float32) * INSERTION, (count, 1))
    for place, phone in enumerate(phones):
        best = np.minimum(row[:, :-1] + costs[phone][others], row[:, 1:] + INSERTION)
        row = np.empty_like(row)
        row[:, 0] = (place + 1) * INSERTION
        for column in range(longest):
            row[:, column + 1] = np.minimum(best[:, column], row[:, column] + INSERTION)
    found: FloatArray = row[np.arange(count), lengths]
    return found
