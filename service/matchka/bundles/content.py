"""What a folder says of itself: a JSON document that states the digest of all else in it, and no links to elsewhere."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from matchka.errors import BundleError

DIGEST_FIELD: Final = "content_digest"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_TAKE_ANEW: Final = "Copy it again from where it was made, or build it again; what was measured is never edited."


def content_digest(document: Mapping[str, Any]) -> str:
    """The sha256 of everything a manifest says, with it of every file whose sha256 it lists.

    Args: document: the parsed JSON; a `content_digest` in it is left out.

    Returns: 64 hexadecimal digits; order and spacing of the file do not matter.

    Raises: ValueError: a number is not finite.

    >>> content_digest({"b": 1, "a": 2}) == content_digest({"a": 2, "b": 1, "content_digest": "any"})
    True
    """
    counted = {name: value for name, value in document.items() if name != DIGEST_FIELD}
    text = json.dumps(counted, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def require_digest(document: Mapping[str, Any], file: Path) -> None:
    """Refuse a document that was changed after it was sealed.

    Args:
        document: the parsed JSON, as it stands in the file.
        file: where it was read.

    Raises: BundleError: the digest it states is not that of what it says.
    """
    stated = document.get(DIGEST_FIELD)
    try:
        found = content_digest(document)
    except ValueError as error:
        raise BundleError(f"{file} states a number that is not finite.", value=error, remedy=_TAKE_ANEW) from error
    if stated != found:
        raise BundleError(
            f"{file} was edited: what it says does not have the content digest that it states.",
            value=stated,
            remedy=_TAKE_ANEW,
        )


def refuse_links(folder: Path) -> None:
    """Refuse a folder that holds a symbolic link: what is behind one can change, and is not what was measured.

    Raises: BundleError: it holds one, of a file or of a folder. The folder itself may be a link.
    """
    links = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink())
    if links:
        raise BundleError(
            f"{folder} holds symbolic links.",
            value=", ".join(links),
            remedy="Put the files themselves there; the folder as a whole may be a link.",
        )
