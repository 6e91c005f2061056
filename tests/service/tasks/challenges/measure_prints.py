"""How many turned and bent prints pass for a turning head; docs/challenge.md has the figures.

python -m tests.service.tasks.challenges.measure_prints [--data FOLDER] [--people N]: ten minutes.
An attack counts where any pictures of it, however chosen and in whatever order, pass all rules.
"""

import argparse
import csv
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.repository import read_bundles
from matchka.errors import MatchkaError
from matchka.inference.model import Model, open_model
from matchka.modalities.face.finding import FaceFinding
from matchka.modalities.face.turn import turn_of
from matchka.settings import read_settings
from matchka.tasks.challenges.turn_path import LEAST_TURN, MOST_FRONTAL
from matchka.tasks.embedding.embedding import embed
from matchka.tasks.embedding.thresholds import threshold_at
from tests.factories.pictures import encoded
from tests.factories.prints import bent_print, turned_print

AXES_DEG = (0, 30, 60, 90, 120, 150)
ANGLES_DEG = (-60, -50, -40, -20, 20, 40, 50, 60)
DISTANCES = (1.0, 3.0)
POLES = (0.6, 0.8, 1.0, 1.3, 2.0)  # radius in eye distances
POLE_ANGLES_DEG = (-60, -45, -30, 0, 30, 45, 60)
MAX_FMR = 1e-3


@dataclass(frozen=True)
class Look:
    """What the service sees in a picture."""

    turn: float
    embedding: np.ndarray
    finding: FaceFinding


def look(model: Model, picture: Image.Image) -> Look | None:
    try:
        seen = embed(model, [encoded(picture, "PNG")], model.options_for("burst", {}))
    except MatchkaError:
        return None
    (finding,) = seen.findings
    assert isinstance(finding, FaceFinding)
    return Look(turn_of(finding), seen.vectors[0], finding)


def can_pass(looks: Sequence[Look], threshold: float) -> bool:
    """Whether three of them could be a burst: centre, one side, the other, all like the first."""
    for centre in looks:
        like = [one.turn for one in looks if one.embedding @ centre.embedding >= threshold]
        if abs(centre.turn) <= MOST_FRONTAL and max(like) >= LEAST_TURN and min(like) <= -LEAST_TURN:
            return True
    return False


def first_pictures(data: Path, people: int) -> Iterator[Image.Image]:
    with (data / "face" / "images.csv").open(encoding="utf-8") as file:
        first = {row["identity"]: row["path"] for row in reversed(list(csv.DictReader(file)))}
    paths = [first[name] for name in sorted(first)]
    for path in paths[:: len(paths) // people][:people]:
        with Image.open(data / "face" / path) as picture:
            yield picture.convert("RGB")


def flat_prints(picture: Image.Image, _plain: Look) -> Iterable[Image.Image]:
    for axis, angle, distance in itertools.product(AXES_DEG, ANGLES_DEG, DISTANCES):
        yield turned_print(picture, axis, angle, distance)


def bent_prints(picture: Image.Image, plain: Look, poles: Sequence[float]) -> Iterable[Image.Image]:
    assert plain.finding.face is not None
    eyes = plain.finding.face.landmarks[:2]
    distance, middle = float(np.linalg.norm(eyes[1] - eyes[0])), float(eyes[:, 0].mean())
    for pole, angle in itertools.product(poles, POLE_ANGLES_DEG):
        yield bent_print(picture, middle, pole * distance, angle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--people", type=int, default=60)
    given = parser.parse_args()
    model = open_model(read_bundles(given.models, ("face",))[0], read_settings({}, cores=1))
    output = model.manifest.output(EmbeddingOutput)
    threshold = threshold_at(output.per_dim[str(output.full_dim)], 1, MAX_FMR).value
    attacks = {
        "flat": flat_prints,
        "bent, radius from 1.3 eye distances": lambda picture, plain: bent_prints(picture, plain, POLES[3:]),
        "bent, any radius": lambda picture, plain: bent_prints(picture, plain, POLES),
    }
    passed, seen, tried = defaultdict(int), defaultdict(list), 0
    for picture in first_pictures(given.data, given.people):
        plain = look(model, picture)
        if plain is None:
            continue
        tried += 1
        for name, attack in attacks.items():
            looks = [one for one in (look(model, turned) for turned in attack(picture, plain)) if one is not None]
            passed[name] += can_pass([plain, *looks], threshold)
            seen[name] += [abs(one.turn - plain.turn) for one in looks]
    for name in attacks:
        changes = np.array(seen[name])
        sys.stdout.write(
            f"{name}: {passed[name]} of {tried} people, {len(changes)} pictures, "
            f"turn changed by at most {changes.max():.2f}, 95 % by {np.quantile(changes, 0.95):.2f}\n"
        )
    model.close()


if __name__ == "__main__":
    main()
