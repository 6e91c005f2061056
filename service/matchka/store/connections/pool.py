"""A pool of connections that tells how long each was waited for."""

import time
from collections.abc import Callable
from typing import cast

from sqlalchemy import QueuePool
from sqlalchemy.pool import PoolProxiedConnection


class MeasuredPool(QueuePool):
    """SQLAlchemy's own pool.

    Attributes: on_waited: told the seconds until a connection was at hand or none was to be had; nobody by default.
    """

    _sqla_logger_namespace = "sqlalchemy.pool.MeasuredPool"  # or its lines would count as ours, and be in the log
    on_waited: Callable[[float], None] | None = None

    @property
    def most(self) -> int:
        """Connections that can be in use at once."""
        return self.size() + self._max_overflow

    def connect(self) -> PoolProxiedConnection:
        """A connection: one that is free, one that is made, or one that is waited for."""
        begun = time.perf_counter()
        try:
            return super().connect()
        finally:
            if self.on_waited is not None:
                self.on_waited(time.perf_counter() - begun)

    def recreate(self) -> "MeasuredPool":
        """A new one in its place, which tells the same."""
        new = cast(MeasuredPool, super().recreate())
        new.on_waited = self.on_waited
        return new
