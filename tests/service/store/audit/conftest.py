"""A log of ten records, one of none, and waiting for what another thread does."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.factories.audit_logs import EVENTS, LogFile, log_in


@pytest.fixture
def ten(tmp_path: Path) -> Iterator[LogFile]:
    with log_in(tmp_path) as log:
        log.append(EVENTS)
        yield log


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[LogFile]:
    with log_in(tmp_path) as log:
        yield log


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    def wait(holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end, "it did not happen within 60 s"
            time.sleep(0.01)

    return wait
