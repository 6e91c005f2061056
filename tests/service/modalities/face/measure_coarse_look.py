"""What changes, and what is saved, where large faces are looked for first.

`python -m tests.service.modalities.face.measure_coarse_look` takes an hour of one core.

Prints how often another face is chosen than by the whole pyramid, or a picture refused that was taken, and the share of
the processor time; docs/decisions/187 has the table. `bold` is the rule that takes what a coarse look sees whenever it
sees anybody.
"""

import argparse
import csv
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from matchka.bundles.bundle import read_bundle
from matchka.errors import MatchkaError
from matchka.inference.session import open_ort_session
from matchka.modalities.face.detection import FaceDetector
from matchka.modalities.face.image import ImageLimits
from matchka.modalities.face.look import Look
from matchka.modalities.face.reader import SETTLED, FaceChoice, FaceReader, FaceReading
from matchka.modalities.face.sample_reader import finding_of
from matchka.modalities.face.settings import FaceSettings
from matchka.modalities.face.spec import ImageInputSpec
from tests.factories.doubtful_faces import opened
from tests.factories.group_pictures import CROWDS, group_picture
from tests.factories.pictures import encoded

SEED: Final = 187
CHOICES: Final[tuple[FaceChoice, ...]] = ("dominant", "only")
SIZES: Final = ((960, 720), (720, 960), (640, 480), (1600, 1200))
SAME_FACE: Final = 0.5  # of boxes' union


def sees_anybody(look: Look) -> bool:
    """The bold rule."""
    return next(look.seen(), None) is not None


def open_readers(bundle_path: Path) -> dict[str, FaceReader]:
    """The whole pyramid, the rule, and the bold one."""
    spec = read_bundle(bundle_path).manifest.input
    if not isinstance(spec, ImageInputSpec):
        raise TypeError(f"{bundle_path} takes no pictures")
    detector = FaceDetector(*(open_ort_session(bundle_path / f"{name}.onnx", 1) for name in ("pnet", "rnet", "onet")))
    rules = {"whole": {}, "rule": SETTLED, "bold": dict.fromkeys(SETTLED, sees_anybody)}
    limits = FaceSettings().face_limits(spec)
    return {name: FaceReader(detector, spec, ImageLimits(25.0), limits, rule) for name, rule in rules.items()}


def read(reader: FaceReader, data: bytes, choice: FaceChoice) -> tuple[FaceReading | str, float]:
    """The face, or the name of the error; and seconds of the processor."""
    started = time.thread_time()
    try:
        (found,) = reader.read(data, choice)
    except MatchkaError as error:
        return type(error).__name__, time.thread_time() - started
    return found, time.thread_time() - started


def difference(before: FaceReading | str, after: FaceReading | str) -> str:
    """What became of an answer."""
    if isinstance(before, str) or isinstance(after, str):
        if before == after:
            return "same"
        return f"{before if isinstance(before, str) else 'face'} -> {after if isinstance(after, str) else 'face'}"
    if before.chip.tobytes() == after.chip.tobytes():
        return "same"
    return "moved" if finding_of(before).likeness(finding_of(after)) >= SAME_FACE else "another face"


def photographs(data: Path, every: int) -> Iterator[Path]:
    """Of both splits."""
    with (data / "face" / "images.csv").open(newline="", encoding="utf-8") as file:
        yield from [data / "face" / row["path"] for row in csv.DictReader(file)][::every]


def measure(title: str, readers: dict[str, FaceReader], files: Iterable[bytes]) -> None:
    """Print a row for each choice and rule."""
    changes: dict[tuple[str, str], Counter[str]] = {}
    ratios: dict[tuple[str, str], list[float]] = {}
    seconds: Counter[tuple[str, str]] = Counter()
    moved: list[float] = []
    for number, data in enumerate(files):
        for choice in CHOICES:
            order = list(readers) if number % 2 else list(readers)[::-1]
            found = {name: read(readers[name], data, choice) for name in order}
            for name, (answer, took) in found.items():
                changes.setdefault((choice, name), Counter())[difference(found["whole"][0], answer)] += 1
                ratios.setdefault((choice, name), []).append(took / found["whole"][1])
                seconds[choice, name] += took
            before, after = found["whole"][0], found["rule"][0]
            if isinstance(before, FaceReading) and isinstance(after, FaceReading) and before.face and after.face:
                shift = np.abs(before.face.landmarks - after.face.landmarks).max() / (before.native_px or 1)
                moved += [float(shift)] if 0 < shift < 0.5 else []
    for (choice, name), counts in changes.items():
        low, middle, high = np.quantile(ratios[choice, name], [0.1, 0.5, 0.9])
        total = seconds[choice, name] / seconds[choice, "whole"]
        sys.stdout.write(
            f"| {title} | {choice} | {name} | {counts.total()} | {dict(counts)} "
            f"| {1e3 * seconds[choice, name] / counts.total():.1f} ms, {total:.2f} of the whole; "
            f"of each {middle:.2f} ({low:.2f} to {high:.2f}) |\n"
        )
    if moved:
        sys.stdout.write(
            f"|  landmarks moved in {len(moved)}, median {np.median(moved):.4f}, most {max(moved):.4f} |\n"
        )
    sys.stdout.flush()


def main(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    readers = open_readers(arguments.models_dir / "face")
    samples = [path.read_bytes() for path in sorted(arguments.samples.glob("*/*.jpg"))]
    measure("the samples", readers, samples * 5)
    paths = list(photographs(arguments.data, arguments.every))
    measure("LFW", readers, (path.read_bytes() for path in paths))
    people: list[Image.Image] = [opened(path) for path in paths[::3]]
    for name, crowd in CROWDS.items():
        generator = np.random.default_rng(SEED)
        files = (
            encoded(group_picture(people, crowd, generator, SIZES[n % len(SIZES)]), "JPEG", quality=90)
            for n in range(arguments.groups)
        )
        measure(f"groups, {name}", readers, files)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--samples", type=Path, default=Path("build/samples/face"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--every", type=int, default=1, help="take every n-th photograph")
    parser.add_argument("--groups", type=int, default=500, help="pictures of each kind")
    main(parser.parse_args())
