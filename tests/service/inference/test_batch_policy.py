"""How a model's rows are run follows from the device and its cores."""

import pytest

from matchka.inference.batch_policy import policy_for


@pytest.mark.parametrize(
    ("use_gpu", "cores", "rows", "workers", "shares"),
    [(False, 1, 6, 2, 1), (False, 4, 6, 5, 4), (True, 1, 32, 2, 1), (True, 16, 32, 2, 1)],
)
def test_policy_follows_the_device_and_the_cores(use_gpu: bool, cores: int, rows: int, workers: int, shares: int):
    policy = policy_for(use_gpu, cores, 2)
    assert (policy.max_rows, policy.workers, policy.most_shares, policy.least_parallel_rows) == (
        rows,
        workers,
        shares,
        2,
    )
    assert (policy.max_wait_s, policy.max_queued_rows) == (0.002, 1024)
