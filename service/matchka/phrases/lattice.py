"""A text as a lattice: every order of phones and blanks that reads it, whichever way its words are pronounced."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from matchka.errors import EmptyTextError

BLANK: Final = 0  # its place on the last axis of posteriors

Pronunciation: TypeAlias = tuple[int, ...]  # places of phones on the last axis of posteriors, each above BLANK
Word: TypeAlias = Sequence[Pronunciation]  # the ways to say it, the usual one first
Text: TypeAlias = Sequence[Word]
Indices: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Lattice:
    """States that follow one another, those of several texts side by side.

    Arrays of scores over the states have one place more, which no state has: it stays unreachable.

    Attributes:
        labels: (states,), the phone of each state, or BLANK.
        before: (most, states), the states that may stand one frame before each, itself included; filled up with the
            number of states.
        first: states that the first frame may be in.
        last: of each text, the states that its last frame may be in.
        origins: of each state, (word, pronunciation); of a blank between words, pronunciation -1.
    """

    labels: Indices
    before: Indices
    first: Indices
    last: tuple[Indices, ...]
    origins: tuple[tuple[int, int], ...]


@dataclass
class _Builder:
    """The states so far, and which may follow which."""

    labels: list[int] = field(default_factory=list)
    before: list[list[int]] = field(default_factory=list)
    origins: list[tuple[int, int]] = field(default_factory=list)
    first: list[int] = field(default_factory=list)

    def add(self, label: int, after: Iterable[int], origin: tuple[int, int]) -> int:
        """A state that may last, and follow others; two equal phones in a row need a blank between them."""
        state = len(self.labels)
        self.labels.append(label)
        self.before.append([state, *(one for one in after if self.labels[one] != label)])
        self.origins.append(origin)
        return state

    def add_text(self, text: Text) -> list[int]:
        """The states of a text; returns those that it may end in."""
        if not text or not all(word and all(word) for word in text):
            raise EmptyTextError("A text needs words, and each of them a phone.", remedy="Give at least one word.")
        blank = self.add(BLANK, (), (0, -1))
        self.first.append(blank)
        ends = [blank]
        for place, word in enumerate(text):
            spoken = [
                self._add_pronunciation(one, ends, (place, number), is_first=place == 0)
                for number, one in enumerate(word)
            ]
            ends = [*spoken, self.add(BLANK, spoken, (place, -1))]
        return ends

    def _add_pronunciation(
        self, phones: Pronunciation, after: list[int], origin: tuple[int, int], is_first: bool
    ) -> int:
        """Its phones with a blank between each two, which may be left out; returns the last phone's state."""
        for number, phone in enumerate(phones):
            state = self.add(phone, after, origin)
            if is_first and number == 0:
                self.first.append(state)
            if number < len(phones) - 1:
                after = [state, self.add(BLANK, [state], origin)]
        return state


def lattice_of(texts: Sequence[Text]) -> Lattice:
    """The lattice of several texts.

    Args: texts: at least one, each of at least one word, each word of at least one pronunciation, each of one phone.

    Raises: EmptyTextError: one of them has none.

    >>> lattice_of([[[(5,)], [(5,), (7,)]]]).labels
    array([0, 5, 0, 5, 7, 0])
    """
    builder = _Builder()
    last = tuple(np.asarray(builder.add_text(text), np.int64) for text in texts)
    if not last:
        raise EmptyTextError("There is no text.", remedy="Give at least one.")
    states = len(builder.labels)
    before = np.full((max(len(row) for row in builder.before), states), states, np.int64)
    for state, row in enumerate(builder.before):
        before[: len(row), state] = row
    return Lattice(
        np.asarray(builder.labels, np.int64), before, np.asarray(builder.first, np.int64), last, tuple(builder.origins)
    )
