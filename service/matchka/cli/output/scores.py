"""Scores as text, and where there has to be one: a key without the scope `scores` is told none."""

from matchka.errors import MissingScopeError


def shown(score: float | None, decimals: int = 3) -> str:
    """A score, or a dash where it is not told.

    >>> shown(0.12345), shown(None)
    ('0.123', '-')
    """
    return "-" if score is None else f"{score:.{decimals}f}"


def required(score: float | None) -> float:
    """A score that a demonstration cannot do without.

    Raises: MissingScopeError: it is not told.
    """
    if score is None:
        raise MissingScopeError(
            "The demonstration compares similarities.",
            value="scores",
            remedy="Give it a key with the scope scores in MATCHKA_API_KEY.",
        )
    return score
