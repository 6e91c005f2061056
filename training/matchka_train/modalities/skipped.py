"""A sample that could not be read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Skipped:
    """A clip that could not be read: its path, its part, and why."""

    path: str
    part: int
    reason: str
