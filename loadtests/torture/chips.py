"""Many different small pictures out of a few real ones, and what the service makes of each."""

import base64
import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

from loadtests.client.caller import Caller

SIDE_PX = 150
FACES = Path(__file__).parents[1] / "sample_faces.json"  # left, top and side of the chip in each pinned picture
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


def draw_chips(samples: Path, seed: int) -> Iterator[bytes]:
    """Real faces, aligned, then turned, stretched, mirrored, blended and recoloured until each is somebody else.

    Args:
        samples: folder of `matchka-export samples`; where the faces lie in them is in sample_faces.json.
        seed: the same seed draws the same chips, without end.

    Raises: FileNotFoundError: there are no pictures; `matchka-export samples` fetches them.
    """
    places: dict[str, list[int]] = json.loads(FACES.read_text(encoding="utf-8"))
    paths = [path for path in sorted(samples.glob("*/*.jpg")) if path.name in places]
    if not paths:
        raise FileNotFoundError(f"no pictures under {samples}; fetch them with `matchka-export samples`")
    pictures = []
    for path in paths:
        left, top, side = places[path.name]
        margin = side // 6
        with Image.open(path) as image:
            face = image.convert("RGB").crop((left - margin, top - margin, left + side + margin, top + side + margin))
        pictures.append(face.resize((2 * SIDE_PX, 2 * SIDE_PX)))
    rng = random.Random(seed)
    while True:
        yield _chip(pictures, rng)


def embed_chips(caller: Caller, chips: Iterator[bytes], count: int) -> ChipPool:
    """Ask the service for the embedding of each chip, until it has taken so many for faces."""
    kept: list[bytes] = []
    rows: list[npt.NDArray[np.float32]] = []
    for chip in chips:
        answer = caller.post("embed", [chip], model=MODEL, face="aligned", encoding="base64")
        if answer.status == 200:
            kept.append(chip)
            rows.append(np.frombuffer(base64.b64decode(answer.body["embeddings"][0]), "<f4"))
        elif answer.body["code"] != "no_face":
            raise RuntimeError(f"embed answered {answer}")
        if len(kept) == count:
            break
    return ChipPool(kept, np.stack(rows).astype(np.float64))


def _chip(pictures: list[Image.Image], rng: random.Random) -> bytes:
    first, second = (_part(rng.choice(pictures), rng) for _ in range(2))
    chip = Image.blend(first, second, rng.uniform(0.0, 0.5))
    chip = ImageEnhance.Color(ImageEnhance.Contrast(chip).enhance(rng.uniform(0.6, 1.5))).enhance(rng.uniform(0, 2))
    file = io.BytesIO()
    chip.save(file, "JPEG", quality=90)
    return file.getvalue()


def _part(picture: Image.Image, rng: random.Random) -> Image.Image:
    turned = picture.rotate(rng.uniform(-20, 20), Image.Resampling.BILINEAR)
    width, height = (rng.randint(170, 280) for _ in range(2))
    left, top = ((2 * SIDE_PX - side) // 2 + rng.randint(-10, 10) for side in (width, height))
    part = turned.crop((left, top, left + width, top + height))
    if rng.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return part.resize((SIDE_PX, SIDE_PX))
