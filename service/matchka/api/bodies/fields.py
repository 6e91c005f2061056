"""Field values as body readers return them, and the kinds of fields that a call takes."""

from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from matchka.errors import TooManyFilesError

Fields: TypeAlias = dict[str, list[str | bytes]]  # the values of each name: text, numbers as they are written, files
LONGEST_TEXT: Final = 1 << 20  # bytes of one that is no file


class StatedFile(bytes):
    """A file that came with its media type, as its sender states it: in lower case, without parameters."""

    media_type: str

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Self:
        """The bytes of a file as those of a type."""
        file = cls(data)
        file.media_type = media_type
        return file


@dataclass(frozen=True)
class FieldKind:
    """What the values of a field are; text where they are neither files, numbers nor flags (true or false).

    Attributes: is_stated: of a file that is text: it has to be a `data:` URI that states its media type.
    """

    is_file: bool = False
    is_stated: bool = False
    is_number: bool = False
    is_flag: bool = False
    is_list: bool = False
    is_object: bool = False  # of JSON, in a form as its text


def require_few_files(count: int, max_files: int) -> None:
    """Refuse a request with too many files.

    Raises: TooManyFilesError: more than max_files.
    """
    if count > max_files:
        raise TooManyFilesError(
            f"One request may carry at most {max_files} files.", remedy="Send the rest in another request."
        )
