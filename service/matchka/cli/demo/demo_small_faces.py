"""The demonstration of small faces: pictures of an enrolled person and of another, reduced until little is left."""

import io
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from matchka.client import Client
from matchka.client.answers import ModelAnswer, VerifyAnswer
from matchka.errors import RequestFailedError

SIZES_PX: Final = (48, 32, 24, 17)  # of the square around the face that is embedded
PROBES: Final = {"own person": "obama/obama3.jpg", "another": "biden/biden.jpg"}


def reads_small_faces(model: ModelAnswer) -> bool:
    """Whether a model reads faces that others refuse."""
    return bool(model.input.get("enhancer"))


def demonstrate_small_faces(client: Client, subject_id: str, samples: Path, console: Console) -> None:
    """Verify reduced pictures, and print a table of similarity and threshold at each size.

    Args:
        client: of a ready service whose model of faces reads small ones.
        subject_id: whom they are compared with, enrolled from pictures of full size.
        samples: folder of the pictures, one for each person in it.
        console: where the table goes.
    """
    if find_spec("PIL") is None:
        console.print("face: small ones are left out; Pillow, which comes with matchka[cpu], is not installed.\n")
        return
    table = Table("probe", *(f"{side} px" for side in SIZES_PX), title="face: small, against the threshold of its size")
    for name, file in PROBES.items():
        picture = samples / file
        (face,) = client.verify(subject_id, picture, "face").faces or [None]
        if face is None or face.native_px is None:
            continue
        table.add_row(name, *(_cell(client, subject_id, picture, side / face.native_px) for side in SIZES_PX))
    console.print(table)


def _cell(client: Client, subject_id: str, picture: Path, by: float) -> str:
    try:
        return _shown(client.verify(subject_id, reduced(picture, by), "face"))
    except RequestFailedError as error:
        return error.code


def _shown(answer: VerifyAnswer) -> str:
    enhanced = ", enhanced" if any(face and face.enhanced for face in answer.faces or []) else ""
    return f"{answer.similarity:.3f} of {answer.threshold:.3f}{enhanced}: {'match' if answer.match else 'no match'}"


def reduced(picture: Path, by: float) -> bytes:
    """A picture with each side `by` times as long, as PNG."""
    from PIL import Image  # comes with the server, not with the client alone

    with Image.open(picture) as opened:
        size = max(16, round(opened.width * by)), max(16, round(opened.height * by))
        small = opened.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    file = io.BytesIO()
    small.save(file, "PNG")
    return file.getvalue()
