"""Batching policy: when a batch runs and how large it is, as pure functions."""

import math
from dataclasses import dataclass
from typing import Final

CPU_ROWS: Final = 6  # a row of a larger run costs a core no less, and all of them wait for its end (docs/decisions/050)
# Rows of a file that gain nothing from the company of others in their runs. It keeps its turn at being read until they
# have run, so that few such files are in memory, and few of their rows in the queue.
MANY_ROWS: Final = 2 * CPU_ROWS
GPU_ROWS: Final = 32
GPU_WORKERS: Final = 2
LONGEST_WAIT_S: Final = 0.002  # for company
# Since two requests met: so long is the next one not taken for a lone one. Among many callers the queue is empty for a
# moment again and again, and one on several cores would take those that others are about to need (decision 192).
LONE_S: Final = 0.25
LEAST_SHARE_ROWS: Final = 4  # a row costs less than half from here on (docs/decisions/050): smaller shares waste cores


@dataclass(frozen=True)
class BatchPolicy:
    """When a worker runs, and with how much.

    Attributes:
        max_rows: most rows of one run.
        max_wait_s: longest time that a row waits for others while another worker runs; it never waits while none does.
        max_queued_rows: most rows of one account that wait for a worker, with an eighth more for all together
            (has_room); a request beyond is refused.
        workers: threads that run the graph at the same time.
        most_shares: workers among which waiting rows are divided, at most; those beyond it are there so that nothing
            idles between two runs. None: all workers.
        least_parallel_rows: fewest rows for which a run by itself is sooner done when several cores share it
            (is_intra_op_parallel).
    """

    max_rows: int = 6
    max_wait_s: float = 0.0
    max_queued_rows: int = 1024
    workers: int = 1
    most_shares: int | None = None
    least_parallel_rows: int = 1

    @property
    def enough_rows(self) -> int:
        """Rows that are not kept waiting: from half of a full run on, a row costs about as little as in a full one."""
        return max(1, self.max_rows // 2)


def policy_for(use_gpu: bool, cores: int, least_parallel_rows: int) -> BatchPolicy:
    """How a model's rows are run.

    A CPU has one worker more than can run at full speed, so that nothing idles between two runs (docs/decisions/053).

    Args:
        use_gpu: whether they run on a GPU.
        cores: that may be kept busy, >= 1.
        least_parallel_rows: see BatchPolicy.

    >>> policy = policy_for(False, 4, 1)
    >>> policy.max_rows, policy.workers, policy.most_shares
    (6, 5, 4)
    """
    rows, workers, shares = (GPU_ROWS, GPU_WORKERS, 1) if use_gpu else (CPU_ROWS, cores + 1, cores)
    return BatchPolicy(
        rows, LONGEST_WAIT_S, workers=workers, most_shares=shares, least_parallel_rows=least_parallel_rows
    )


def rows_to_take(queued_rows: int, idle_workers: int, policy: BatchPolicy) -> int:
    """How many of the waiting rows one worker takes: as many as fit, but its share where others are idle too.

    A lone clip of several windows is done sooner when each core takes a part of it, and one that needs several runs
    anyway is divided evenly, so that none of them is left with a few rows.

    Args:
        queued_rows: rows that wait, >= 1.
        idle_workers: workers without work, the one that asks included, >= 1.
        policy: its max_rows bounds the answer.

    Returns: 1..min(queued_rows, policy.max_rows).

    >>> policy = BatchPolicy(max_rows=16, workers=2)
    >>> [rows_to_take(rows, 2, policy) for rows in (1, 7, 8, 9, 40)], rows_to_take(9, 1, policy)
    ([1, 7, 4, 5, 16], 9)
    >>> policy = BatchPolicy(max_rows=6, workers=3, most_shares=2)
    >>> [rows_to_take(rows, 3, policy) for rows in (6, 7)], rows_to_take(8, 2, policy)
    ([6, 4], 6)
    """
    needed_runs = -(-queued_rows // policy.max_rows)
    shares = max(needed_runs, queued_rows // LEAST_SHARE_ROWS)
    idle_shares = idle_workers - (policy.workers - (policy.most_shares or policy.workers))
    sharing_workers = max(1, min(idle_shares, shares))
    return min(queued_rows, policy.max_rows, -(-queued_rows // sharing_workers))


def is_intra_op_parallel(
    rows: int, queued_rows: int, idle_workers: int, policy: BatchPolicy, lone_s: float = math.inf
) -> bool:
    """Whether several cores should share one run: nothing else is there, and its rows are too few for workers to share.

    Threads within a run cost CPU time, so they are for a lone request, whose cores would idle.

    Args:
        rows: of the run.
        queued_rows: rows that wait besides.
        idle_workers: workers without work, the one that runs included.
        policy: its workers and bounds.
        lone_s: seconds since two requests were there at the same time.

    >>> policy = BatchPolicy(workers=2, least_parallel_rows=2)
    >>> [is_intra_op_parallel(rows, 0, 2, policy) for rows in (1, 2, 7, 8)], is_intra_op_parallel(2, 0, 1, policy)
    ([False, True, True, False], False)
    >>> is_intra_op_parallel(2, 0, 2, policy, lone_s=0.01)
    False
    """
    alone = queued_rows == 0 and idle_workers == policy.workers and lone_s >= LONE_S
    return alone and policy.least_parallel_rows <= rows < 2 * LEAST_SHARE_ROWS
