"""Made-up people by six measures of their hands, as the shipped recipe of named numbers takes them."""

import json
from pathlib import Path

import numpy as np

# name, least, most, whether by factors, and how much a person varies from take to take, as share of the range
MEASURES = (
    ("palm_width", 50, 120, False, 0.01),
    ("palm_length", 60, 150, False, 0.01),
    ("middle_finger", 45, 120, False, 0.01),
    ("grip", 20, 1000, True, 0.02),
    ("tap_interval", 0.05, 2, True, 0.08),
    ("skin_ph", 3.5, 8, False, 0.04),
)
Numbers = dict[str, float]


def take_of(person: int, take: int) -> Numbers:
    """A person's measures: their own, and a little of this take's, each along its own scale."""
    own, now = np.random.default_rng([7, person]), np.random.default_rng([8, person, take])
    numbers = {}
    for name, low, high, by_factors, spread in MEASURES:
        share = min(max(own.uniform(0.1, 0.9) + spread * now.normal(), 0.0), 1.0)
        numbers[name] = low * (high / low) ** share if by_factors else low + (high - low) * share
    return numbers


def write_hands(folder: Path, trained: int, held_out: int, takes: int) -> None:
    """A file for each take, and samples.csv, the list of them: those trained on first, then the others."""
    lines = ["path,subject,split"]
    for number in range(trained + held_out):
        for take in range(takes):
            (folder / f"{number}-{take}.json").write_text(json.dumps(take_of(number, take)))
            lines.append(f"{number}-{take}.json,p{number},{'train' if number < trained else 'dev'}")
    (folder / "samples.csv").write_text("\n".join(lines))
