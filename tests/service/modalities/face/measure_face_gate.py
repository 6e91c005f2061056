"""How sharply the gate for faces tells faces from junk.

`python -m tests.service.modalities.face.measure_face_gate` takes about ten minutes.

Prints the tables of docs/decisions/045: what passes as an aligned chip and as a photograph. Needs the default bundles
(`make bundles`) and the photographs of docs/data.md.
"""

import argparse
import csv
import io
import random
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from matchka.bundles.bundle import read_bundle
from matchka.errors import MatchkaError
from matchka.inference.session import open_ort_session
from matchka.modalities.face.alignment import expected_box
from matchka.modalities.face.detection import Face, FaceDetector
from matchka.modalities.face.image import ImageLimits
from matchka.modalities.face.look import MIN_EVIDENCE
from matchka.modalities.face.reader import (
    CERTAIN,
    GLANCE,
    MIN_CONFIDENCE,
    FaceLimits,
    FaceReader,
)
from matchka.modalities.face.spec import ImageInputSpec
from tests.factories.doubtful_faces import DOUBTFUL, opened
from tests.factories.junk_pictures import KINDS, junk_pictures, scrambled
from tests.factories.pictures import encoded

SEED = 45
OF_EACH = 200  # chips of each kind of junk
OF_EACH_PHOTOGRAPH = 25
NOT_FOUND = -99.0
DOUBTFUL_PEOPLE = 120
SMALL_PX = (40, 32, 24, 16)


class Gate:
    """The reader of one bundle, and the confidence that its gate looks at.

    Attributes:
        chips: looked at so far.
        certain: of these, the ones that two looks were enough for.
        too_certain: of these, the ones that six looks would have refused.
    """

    def __init__(self, bundle_path: Path) -> None:
        spec = read_bundle(bundle_path).manifest.input
        if not isinstance(spec, ImageInputSpec):
            raise TypeError(f"{bundle_path} takes no pictures")
        self.input: ImageInputSpec = spec
        self.chips = self.certain = self.too_certain = 0
        graphs = (open_ort_session(bundle_path / f"{name}.onnx", 1) for name in ("pnet", "rnet", "onet"))
        self.detector = FaceDetector(*graphs)
        self.reader = FaceReader(self.detector, self.input, ImageLimits(25.0), FaceLimits(0.0, 0.0, 1e9, 0.0, 32))

    def of_chip(self, chip: Image.Image) -> float:
        """The confidence in a face where the template puts it."""
        whole = chip.resize((self.input.chip_px, self.input.chip_px), Image.Resampling.BILINEAR, reducing_gap=2.0)
        landmarks = np.asarray(self.input.template.points, dtype=np.float32)
        expected = Face(expected_box(self.input.template), landmarks, 0.0)
        confidence = self.detector.look_again(whole, expected).confidence
        self.chips += 1
        if self.detector.with_settings(GLANCE).look_again(whole, expected).confidence >= CERTAIN:
            self.certain += 1
            self.too_certain += confidence < MIN_CONFIDENCE
        return confidence

    def of_picture(self, picture: Image.Image) -> Face | None:
        """The face with most evidence of those that the cascade finds; None where it finds none."""
        seen = [self.detector.look_again(picture, face) for face in self.detector.detect(picture)]
        return max(seen, key=lambda face: face.evidence, default=None)


def show(name: str, confidences: Iterable[float], limit: float) -> None:
    """One row: how many, how many pass, and the confidences' extremes."""
    values = np.asarray(list(confidences))
    passed = int((values >= limit).sum())
    low, median, high = np.percentile(values, [0, 50, 100])
    sys.stdout.write(
        f"| {name} | {len(values)} | {passed} | {passed / len(values):.2%} | {low:.3f} | {median:.3f} | {high:.3f} |\n"
    )
    sys.stdout.flush()


def show_doubtful(gate: Gate, paths: list[Path]) -> None:
    """Of photographs changed in each doubtful way: found by the cascade, pass by evidence, would by mean confidence."""
    chosen = random.Random(0).sample(paths, DOUBTFUL_PEOPLE)
    sys.stdout.write("| photographs | count | found | pass | by mean confidence |\n|---|---|---|---|---|\n")
    for name, change in DOUBTFUL.items():
        seen = []
        for path in chosen:
            photograph = opened(path)
            largest = max(gate.detector.detect(photograph), key=lambda face: face.side_px)
            seen.append(gate.of_picture(change(photograph, largest)))
        found = [face for face in seen if face is not None]
        passed = sum(face.evidence >= MIN_EVIDENCE for face in found)
        by_mean = sum(face.confidence >= MIN_CONFIDENCE for face in found)
        sys.stdout.write(f"| {name} | {len(seen)} | {len(found)} | {passed} | {by_mean} |\n")
        sys.stdout.flush()
    sys.stdout.write("\n")


def main(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    gate, limit = Gate(arguments.models_dir / "face"), MIN_CONFIDENCE
    with (arguments.data / "face" / "images.csv").open(newline="", encoding="utf-8") as file:
        paths = [arguments.data / "face" / row["path"] for row in csv.DictReader(file)][:: arguments.every]
    show_doubtful(gate, sorted((arguments.data / "face" / "dev").rglob("*.jpg")))
    chips, in_photographs = [], []
    for path in paths:
        data = path.read_bytes()
        found = gate.of_picture(gate.reader.decode(data))
        in_photographs.append(NOT_FOUND if found is None else found.evidence)
        try:
            (reading,) = gate.reader.read(data, "dominant")
        except MatchkaError:
            continue
        chips.append(Image.fromarray(reading.chip))
    sys.stdout.write("| aligned chips | count | pass | | least | median | most |\n|---|---|---|---|---|---|---|\n")
    show("of photographs", map(gate.of_chip, chips), limit)
    samples = sorted(arguments.samples.glob("*/*.jpg"))
    cut = [Image.fromarray(gate.reader.read(path.read_bytes(), "dominant")[0].chip) for path in samples]
    show("of the samples", map(gate.of_chip, cut), limit)
    show("blurred, sigma 3 px", (gate.of_chip(c.filter(ImageFilter.GaussianBlur(3))) for c in chips), limit)
    for side in SMALL_PX:
        small = (c.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0) for c in chips)
        show(f"reduced to {side} px", map(gate.of_chip, small), limit)
    show("as JPEG of quality 30", (gate.of_chip(_as_jpeg(c)) for c in chips), limit)
    junk = list(junk_pictures(SEED, OF_EACH, gate.input.chip_px))
    for kind in KINDS:
        show(f"junk: {kind}", (gate.of_chip(one.picture) for one in junk if one.kind == kind), limit)
    rng = np.random.default_rng(SEED)
    for blocks in (2, 3, 4, 6, 10):
        mixed = (Image.fromarray(scrambled(np.asarray(chip), blocks, rng)) for chip in chips)
        show(f"faces scrambled in {blocks} x {blocks} blocks", map(gate.of_chip, mixed), limit)
    sys.stdout.write(f"\nof {gate.chips} chips two looks were enough for {gate.certain}; ")
    sys.stdout.write(f"six would have refused {gate.too_certain} of these\n")
    sys.stdout.write("\n| photographs | count | pass | | least | median | most |\n|---|---|---|---|---|---|---|\n")
    show("of people (evidence)", in_photographs, MIN_EVIDENCE)
    for side in (150, 320, 640):
        seen = [gate.of_picture(one.picture) for one in junk_pictures(SEED, OF_EACH_PHOTOGRAPH, side)]
        found_ones = sum(one is not None for one in seen)
        show(
            f"junk of {side} px, {found_ones} found by the cascade",
            (NOT_FOUND if one is None else one.evidence for one in seen),
            MIN_EVIDENCE,
        )


def _as_jpeg(chip: Image.Image) -> Image.Image:
    return Image.open(io.BytesIO(encoded(chip, "JPEG", quality=30)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--samples", type=Path, default=Path("build/samples/face"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--every", type=int, default=1, help="take every n-th photograph")
    main(parser.parse_args())
