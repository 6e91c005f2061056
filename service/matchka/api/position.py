"""The header Matchka-Position: what a caller has seen of the store, so that it is shown nothing older."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import Depends, Header

from matchka.store.feed.snapshot import Position

POSITION_HEADER: Final = "Matchka-Position"
DESCRIPTION: Final = "A state of the store: what is sent with it shows all that was in the store then."
# of the answers that carry it, for the OpenAPI document
ANSWERED: Final[Mapping[str, Any]] = {POSITION_HEADER: {"schema": {"type": "string"}, "description": DESCRIPTION}}


async def position_sent(
    text: Annotated[str | None, Header(alias=POSITION_HEADER, description=DESCRIPTION)] = None,
) -> Position | None:
    """The position that a request names, if it does.

    Raises: PositionError: it is none.
    """
    return None if text is None else Position.parse(text)


PositionDep = Annotated[Position | None, Depends(position_sent)]


def headers_of(position: Position | None) -> dict[str, str]:
    """The headers of an answer that tells a position."""
    return {} if position is None else {POSITION_HEADER: str(position)}


def text_of(position: Position | None) -> str | None:
    """What an answer's body says of a position."""
    return None if position is None else str(position)
