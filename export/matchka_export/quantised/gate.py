"""What an 8-bit graph has to show on the machine that writes it, beside the graph in 32 bits."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from matchka.inference.session import Session
from matchka.modalities.modality import InputArray

LEAST_SPEED: Final = 1.3
LARGEST_IN_COMPANY: Final = 1e-5  # difference of what a row gives alone
ONE_ROW: Final = 1
FULL_RUN: Final = 6  # rows, as the service runs at most (matchka.inference.batch_policy.CPU_ROWS)
TURNS: Final = 7
TURN_S: Final = 0.1


@dataclass(frozen=True)
class BesideFloat:
    """What was found of an 8-bit graph beside the one in 32 bits.

    Attributes:
        least_cosine: of all rows.
        company: largest difference of what a row gives alone from what it gives among others.
        speed: rows a second of one thread, as a multiple; by rows in a run.
    """

    least_cosine: float
    company: float
    speed: dict[int, float]

    def __str__(self) -> str:
        """In words.

        >>> str(BesideFloat(0.999, 0.0, {1: 1.6, 6: 1.5}))
        '1.60 times as fast in runs of 1, 1.50 times as fast in runs of 6, lowest cosine 0.99900'
        """
        speeds = [f"{speed:.2f} times as fast in runs of {rows}" for rows, speed in self.speed.items()]
        return ", ".join([*speeds, f"lowest cosine {self.least_cosine:.5f}"])

    def refusal(self, least_cosine: float) -> str | None:
        """Why the graph must not ship, or None.

        Args: least_cosine: of any row.

        >>> BesideFloat(0.999, 0.0, {1: 1.2}).refusal(0.996)
        '1.20 times as fast in runs of 1 (>= 1.3)'
        """
        wrong = []
        if not self.least_cosine >= least_cosine:  # written so that NaN fails too
            wrong.append(f"a row's cosine with the graph in 32 bits is {self.least_cosine:.5f} (>= {least_cosine:g})")
        if not self.company <= LARGEST_IN_COMPANY:
            wrong.append(f"other rows change what a row gives by {self.company:.2g} (<= {LARGEST_IN_COMPANY:g})")
        wrong.extend(
            f"{speed:.2f} times as fast in runs of {rows} (>= {LEAST_SPEED:g})"
            for rows, speed in self.speed.items()
            if not speed >= LEAST_SPEED
        )
        return "; ".join(wrong) or None


def put_beside(own: Session, variant: Session, output: str, rows: InputArray) -> BesideFloat:
    """Compare two graphs in numbers and in speed.

    Args:
        own: the graph in 32 bits, with one thread.
        variant: the other one, likewise.
        output: the name of the embeddings.
        rows: real ones where there are any, at least FULL_RUN.
    """
    wanted, found = own.run(rows)[output], variant.run(rows)[output]
    alone = np.concatenate([variant.run(rows[number : number + 1])[output] for number in range(len(rows))])
    lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(found, axis=1)
    cosines = np.einsum("nd,nd->n", wanted, found) / np.where(lengths > 0, lengths, np.nan)
    speed = {count: _speed([own, variant], rows[:count]) for count in (ONE_ROW, FULL_RUN)}
    return BesideFloat(float(cosines.min()), float(np.abs(alone - found).max()), speed)


def _speed(sessions: Sequence[Session], rows: InputArray) -> float:
    """CPU time of the first as a multiple of the second's: median over turns, so that both meet the same machine."""
    repeats = max(1, int(TURN_S / _cpu_s(sessions[0], rows, 1)))
    ratios = []
    for turn in range(TURNS):
        order = sessions if turn % 2 else list(reversed(sessions))
        seconds = {id(session): _cpu_s(session, rows, repeats) for session in order}
        ratios.append(seconds[id(sessions[0])] / seconds[id(sessions[1])])
    return median(ratios)


def _cpu_s(session: Session, rows: InputArray, repeats: int) -> float:
    """CPU seconds of this thread, in which a session of one thread runs."""
    begun = time.thread_time()
    for _ in range(repeats):
        session.run(rows)
    return max(time.thread_time() - begun, 1e-9)
