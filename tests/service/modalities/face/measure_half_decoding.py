"""What it changes of a face that a JPEG too costly to decode whole is decoded at half its size.

`python -m tests.service.modalities.face.measure_half_decoding` takes three minutes.

Photographs are put into a picture of 24 million pixels so that the face is as small as faces are looked for there.
Prints the cosine of the embeddings, whole against half; docs/decisions/045 has the table.
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from matchka.bundles.bundle import read_bundle
from matchka.errors import MatchkaError
from matchka.inference.model import Model, open_model
from matchka.settings import read_settings
from matchka.tasks.embedding.embedding import embed

WHOLE_MEGAPIXELS = 60.0  # that 24 million pixels without subsampling, in several passes, are decoded whole under
WIDTH, HEIGHT = 6000, 4000
LFW_FACE_PX = 95  # side of the cascade's box in a photograph of 250 px, about
FACE_PX = 350


def embedding(model: Model, data: bytes) -> np.ndarray | None:
    """Of the large and central face, or None where it is refused."""
    try:
        return np.asarray(embed(model, [data], model.options_for("probe", {})).vectors[0])
    except MatchkaError:
        return None


def main(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    bundle = read_bundle(arguments.models_dir / "face")
    whole, half = (
        open_model(
            bundle,
            read_settings({}, models_dir=arguments.models_dir, modalities={"face": {"max_megapixels": limit}}),
        )
        for limit in (WHOLE_MEGAPIXELS, 24.0)
    )
    paths = sorted((arguments.data / "face" / "dev").rglob("*.jpg"))[:: arguments.every]
    sys.stdout.write("| face | count | only whole | only half | least cosine | median |\n|---|---|---|---|---|---|\n")
    found: list[tuple[np.ndarray | None, np.ndarray | None]] = []
    for path in paths:
        side = 250 * FACE_PX // LFW_FACE_PX
        canvas = Image.effect_noise((WIDTH, HEIGHT), 8).convert("RGB")
        with Image.open(path) as image:
            big = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        canvas.paste(big, ((WIDTH - side) // 2, (HEIGHT - side) // 2))
        file = io.BytesIO()
        canvas.save(file, "JPEG", quality=92, progressive=True, subsampling=0)
        found.append((embedding(whole, file.getvalue()), embedding(half, file.getvalue())))
    cosines = [float(a @ b) for a, b in found if a is not None and b is not None]
    only_whole = sum(a is not None and b is None for a, b in found)
    only_half = sum(a is None and b is not None for a, b in found)
    sys.stdout.write(
        f"| {FACE_PX} px | {len(found)} | {only_whole} | {only_half} "
        f"| {min(cosines):.4f} | {np.median(cosines):.4f} |\n"
    )
    sys.stdout.flush()
    for model in (whole, half):
        model.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--every", type=int, default=20, help="take every n-th photograph")
    main(parser.parse_args())
