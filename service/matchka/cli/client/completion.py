"""What a shell offers as the value of an option."""

from collections.abc import Callable
from typing import Final

import typer

from matchka.client import Client
from matchka.errors import MatchkaError

LIMIT_S: Final = 0.5  # somebody waits for the line


def one_of(*values: str) -> Callable[[str], list[str]]:
    """Offers the values that begin as what is typed.

    >>> one_of("create", "append")("a")
    ['append']
    """
    return lambda incomplete: [value for value in values if value.startswith(incomplete)]


def served_models(context: typer.Context, incomplete: str) -> list[str]:
    """The models of the service that the line or the environment names; none where it does not answer at once."""
    try:
        with Client(context.params.get("url"), timeout_s=LIMIT_S) as client:
            served = {model.name for model in client.models().models}
    except MatchkaError:
        return []
    return sorted(name for name in served if name.startswith(incomplete))
