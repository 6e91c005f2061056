"""When a batch runs and how large it is: pure arithmetic on what waits."""

from dataclasses import dataclass
from typing import Final

LEAST_SHARE_ROWS: Final = 2  # an LSTM's run of one row costs nearly that of two: below this splitting gains nothing


@dataclass(frozen=True)
class BatchPolicy:
    """When a lane runs, and with how much.

    Attributes:
        max_rows: most rows of one run.
        max_wait_s: longest time that a row waits for company while another lane runs; it never waits while none does.
        max_queued_rows: most rows that wait for a lane; a request beyond is refused.
        lanes: threads that run the graph at the same time.
    """

    max_rows: int = 16
    max_wait_s: float = 0.0
    max_queued_rows: int = 1024
    lanes: int = 1

    @property
    def enough_rows(self) -> int:
        """Rows that are not kept waiting: from half of a full run on, a row costs about as little as in a full one."""
        return max(1, self.max_rows // 2)


def rows_to_take(queued_rows: int, idle_lanes: int, policy: BatchPolicy) -> int:
    """How many of the waiting rows one lane takes: as many as fit, but its share where others are idle too.

    A lone clip of several windows is done sooner when each core takes a part of it.

    Args:
        queued_rows: rows that wait, >= 1.
        idle_lanes: lanes without work, the one that asks included, >= 1.
        policy: its max_rows bounds the answer.

    Returns: 1..min(queued_rows, policy.max_rows).

    >>> policy = BatchPolicy(max_rows=16, lanes=2)
    >>> [rows_to_take(rows, 2, policy) for rows in (1, 2, 3, 4, 7, 40)], rows_to_take(7, 1, policy)
    ([1, 2, 2, 2, 4, 16], 7)
    """
    share = max(LEAST_SHARE_ROWS, -(-queued_rows // idle_lanes))
    return min(queued_rows, policy.max_rows, share)
