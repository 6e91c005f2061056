"""Request bodies made once, before the load starts, so that the client's own work does not blur the measurement."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from urllib3.filepost import encode_multipart_formdata


@dataclass(frozen=True)
class Payload:
    """A ready multipart body and its content type."""

    body: bytes
    content_type: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers to send it with."""
        return {"Content-Type": self.content_type}


def form(files: bytes | Mapping[str, bytes], **fields: str) -> Payload:
    """A form with files by their fields; a file alone is `file`."""
    named = {"file": files} if isinstance(files, bytes) else files
    parts: dict[str, str | tuple[str, bytes]] = {**fields, **{name: ("sample", data) for name, data in named.items()}}
    body, content_type = encode_multipart_formdata(parts)
    return Payload(body, content_type)


def read_samples(folder: Path) -> dict[str, list[bytes]]:
    """The samples of each person: folder/<person>/<file>.

    Raises: FileNotFoundError: there are none; `matchka-export samples` fetches them.
    """
    samples: dict[str, list[bytes]] = {}
    for path in sorted(folder.glob("*/*.*")):
        samples.setdefault(path.parent.name, []).append(path.read_bytes())
    if not samples:
        raise FileNotFoundError(f"no samples under {folder}; fetch them with `matchka-export samples`")
    return samples
