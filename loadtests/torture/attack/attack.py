"""An attack, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """What came of an attack.

    Attributes:
        tried: calls or changes that were made.
        refused: of these, how many were refused by name: an error status, or a start that says why it ends.
        leaked: how many gave what they must not. What is neither was answered, and gave nothing.
        note: for people.
    """

    tried: int
    refused: int
    leaked: int
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """How much is tried.

    Attributes:
        out: where files go.
        models_dir: the default bundles.
        samples: what `matchka-export samples` fetched.
        recovery_calls: calls without `scores` to recover a template.
        seconds: of each attack that starves others.
        seed: of all that is random.
    """

    out: Path
    models_dir: Path
    samples: Path
    recovery_calls: int = 1000
    seconds: float = 10.0
    seed: int = 1


@dataclass(frozen=True)
class Attack:
    """Something that somebody tries who has a key, or the files.

    Attributes:
        name: in the table.
        run: tries it.
        known_limit: what SECURITY.md says of it, where it is known to give something; empty: it must not.
    """

    name: str
    run: Callable[[Plan], Result]
    known_limit: str = field(default="")

    def broken(self, result: Result) -> list[str]:
        """Which promise did not hold."""
        if result.leaked and not self.known_limit:
            return [f"{self.name}: {result.leaked} of {result.tried} gave what they must not; {result.note}"]
        return []
