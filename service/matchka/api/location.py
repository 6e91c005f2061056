"""The header Location: where that lies which a call made."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

LOCATION_HEADER: Final = "Location"
# of the answers that carry it, for the OpenAPI document
LOCATION: Final[Mapping[str, Any]] = {
    LOCATION_HEADER: {"schema": {"type": "string", "format": "uri-reference"}, "description": "Path of what was made."}
}


def location_of(collection: str, name: str) -> dict[str, str]:
    """The header of an answer to what made one of a collection.

    >>> location_of("/v1/subjects", "élan@home")
    {'Location': '/v1/subjects/%C3%A9lan%40home'}
    """
    return {LOCATION_HEADER: f"{collection}/{quote(name, safe='')}"}
