"""Many different small pictures out of a few real ones, and what the service makes of each."""

import base64
import io
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

from loadtests.torture.caller import Caller

SIDE_PX = 150
FILES_AT_ONCE = 32
MODEL = "face"

Vectors = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ChipPool:
    """Pictures, and their embeddings, float64 (chips, full_dim), unit length."""

    chips: list[bytes]
    embeddings: Vectors

    def reference(self, templates: frozenset[int]) -> Vectors:
        """The mean of some chips' embeddings, (full_dim,): what the service must hold of a subject."""
        mean: Vectors = self.embeddings[sorted(templates)].mean(axis=0)
        return mean

    def similarity(self, templates: frozenset[int], probe: int) -> float:
        """The cosine of a chip and a reference."""
        reference = self.reference(templates)
        return float(reference @ self.embeddings[probe] / np.linalg.norm(reference))


def make_chips(samples: Path, count: int, seed: int) -> list[bytes]:
    """Crops of real faces, turned, mirrored, blended and recoloured until each is somebody else to the model.

    Raises: FileNotFoundError: there are no pictures; `matchka-export samples` fetches them.
    """
    paths = sorted(samples.glob("*/*.jpg"))
    if not paths:
        raise FileNotFoundError(f"no pictures under {samples}; fetch them with `matchka-export samples`")
    pictures = []
    for path in paths:
        with Image.open(path) as image:
            pictures.append(image.convert("RGB").resize((400, 400)))
    rng = random.Random(seed)
    return [_chip(pictures, rng) for _ in range(count)]


def embed_chips(caller: Caller, chips: list[bytes]) -> ChipPool:
    """Ask the service for the embedding of each chip."""
    rows: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(chips), FILES_AT_ONCE):
        part = chips[start : start + FILES_AT_ONCE]
        answer = caller.post("embed", part, model=MODEL, face="aligned", encoding="base64")
        if answer.status != 200:
            raise RuntimeError(f"embed answered {answer}")
        rows += [np.frombuffer(base64.b64decode(text), "<f4") for text in answer.body["embeddings"]]
    return ChipPool(chips, np.stack(rows).astype(np.float64))


def _chip(pictures: list[Image.Image], rng: random.Random) -> bytes:
    first, second = (_part(rng.choice(pictures), rng) for _ in range(2))
    chip = Image.blend(first, second, rng.uniform(0.0, 0.5))
    chip = ImageEnhance.Color(ImageEnhance.Contrast(chip).enhance(rng.uniform(0.6, 1.5))).enhance(rng.uniform(0, 2))
    file = io.BytesIO()
    chip.save(file, "JPEG", quality=90)
    return file.getvalue()


def _part(picture: Image.Image, rng: random.Random) -> Image.Image:
    side = rng.randint(130, 360)
    left, top = rng.randint(0, 400 - side), rng.randint(0, 400 - side)
    part = picture.rotate(rng.uniform(-25, 25)).crop((left, top, left + side, top + side))
    if rng.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return part.resize((SIDE_PX, SIDE_PX))
