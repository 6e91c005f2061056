"""FPIR and FNIR against gallery size, of a running service on real people nobody trained on.

    python -m loadtests.identification.measure --url http://127.0.0.1:8009 --data ../shared/data

Thresholds and a sample of whole decisions come from the service; references, similarities and rates are computed here.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from loadtests.identification.people import Person, read_people
from loadtests.identification.rates import (
    DRAWS,
    Draw,
    Held,
    Rate,
    below_threshold,
    draw_gallery,
    false_negative_rate,
    false_positive_rate,
    fit_impostors,
    hold,
)
from loadtests.identification.report import write_report
from loadtests.identification.service import Service
from loadtests.scoring import Counted

SIZES = {"voice": (30, 100, 300), "face": (30, 100, 300, 1000)}
TEMPLATES = (1, 3, 10)
FPIRS = (0.01, 0.05)
BEYOND = (1_000, 10_000, 100_000, 1_000_000)
CHECKED_SIZE = 30  # the real gallery in which whole decisions are compared
CHECKED_SAMPLES = 60
SEED = 20261121


@dataclass(frozen=True)
class Measured:
    """One gallery size, number of templates, dim and promise.

    Attributes:
        size: subjects in the gallery.
        templates: samples in each reference.
        dim: components compared.
        max_fpir: what the caller asked for.
        threshold: what the service made of it.
        strangers: people nobody enrolled, in all draws together.
        fpir: measured; None beyond the data.
        fnir: measured; None beyond the data.
        modelled_fpir: by the impostor model.
        modelled_fnir: share of probes below the threshold, whoever else is more alike.
        fpir_of_pairs: what would be measured if thresholds counted on independent pairs alone.
    """

    size: int
    templates: int
    dim: int
    max_fpir: float
    threshold: float
    strangers: int
    fpir: Rate | None
    fnir: Rate | None
    modelled_fpir: float
    modelled_fnir: float
    fpir_of_pairs: float | None


@dataclass(frozen=True)
class Checked:
    """Whole decisions of the service beside those computed here, in a real gallery."""

    size: int
    samples: int
    agreed: int
    largest_difference: float


def main() -> None:
    """Measure every model that is served, and write docs/identification.md and its figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8009")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models", type=Path, default=Path("models"), help="the served bundles, for their scorers")
    parser.add_argument("--cache", type=Path, default=Path("build/identification"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    content = {}
    for model in SIZES:
        service = Service(arguments.url, model, arguments.models)
        people = read_people(model, arguments.data)
        service.delete_everybody()
        embedded = service.embed_people(people, arguments.cache)
        full = service.about["full_dim"]
        checked = check_decisions(service, people, embedded, full)
        rows = [
            row
            for dim in (full, service.about["dims"][2])
            for templates in TEMPLATES
            for row in measure(service, people, embedded, dim, templates)
        ]
        content[model] = {
            "version": service.about["version"],
            "checked": asdict(checked),
            "rows": [asdict(row) for row in rows],
        }
        service.delete_everybody()
    write_report(content, arguments.docs)
    Console().print(str(arguments.docs / "identification.md"))


def measure(
    service: Service, people: Sequence[Person], embedded: Sequence[Counted], dim: int, templates: int
) -> list[Measured]:
    """All sizes and promises at one dim and number of templates."""
    generator = np.random.default_rng([SEED, dim, templates])
    counts = [len(rows) for rows in embedded]
    by_size: dict[int, list[Held]] = {}
    title = f"{service.model}, dim {dim}, {templates} templates"
    for wanted in track(SIZES[service.model], title, console=Console(stderr=True)):
        draws = [draw_gallery(people, counts, wanted, templates, generator) for _ in range(DRAWS)]
        size = min(len(draw.enrolled) for draw in draws)  # smaller than wanted where the data have no more
        by_size[size] = [hold(draw.cut_to(size), embedded, dim, service.comparison) for draw in draws]
        if size < wanted:
            break  # a larger one would be the same again
    largest = max(by_size)
    model = fit_impostors(by_size[largest])
    subject_id, probe = _enrolled_with(service, people, embedded, templates, dim)
    rows = []
    for max_fpir in FPIRS:
        for size in (*by_size, *(size for size in BEYOND if size > largest)):
            threshold, of_pairs = service.thresholds(subject_id, probe, templates, dim, max_fpir, size)
            held = by_size.get(size)
            rows.append(
                Measured(
                    size,
                    templates,
                    dim,
                    max_fpir,
                    threshold,
                    len({int(n) for part in held or () for n in part.impostor_people}),
                    false_positive_rate(held, threshold, generator) if held else None,
                    false_negative_rate(held, threshold, generator) if held else None,
                    model.false_positive_rate(threshold, size),
                    below_threshold(by_size[largest], threshold),
                    false_positive_rate(held, of_pairs, generator).value if held else None,
                )
            )
    return rows


def check_decisions(service: Service, people: Sequence[Person], embedded: Sequence[Counted], dim: int) -> Checked:
    """Enrol a small gallery for real, identify impostors and probes, and compare with what is computed here."""
    generator = np.random.default_rng(SEED)
    whole = [n for n in range(len(people)) if len(embedded[n]) == len(people[n].samples)]  # rows are samples
    counts = [len(embedded[n]) if n in set(whole) else 0 for n in range(len(people))]
    draw = draw_gallery(people, counts, CHECKED_SIZE, 1, generator)
    for column, person in enumerate(draw.enrolled):
        service.enroll(f"s{column}", [people[person].samples[n] for n in draw.chosen[column]])
    held = hold(draw, embedded, dim, service.comparison)
    samples = _samples_of(draw, people)
    rows = np.concatenate([held.impostors, held.probes])
    picked = generator.permutation(len(rows))[:CHECKED_SAMPLES]
    agreed, largest = 0, 0.0
    for number in track(picked, f"Checking decisions ({service.model})", console=Console(stderr=True)):
        answer = service.identify(samples[number], dim, FPIRS[0])
        best = int(rows[number].argmax())
        here = f"s{best}" if rows[number, best] >= answer["threshold"] else None
        agreed += here == answer["match"]
        largest = max(largest, abs(answer["candidates"][0]["similarity"] - float(rows[number, best])))
    subject_id, probe = "s0", samples[0]
    threshold, _ = service.thresholds(subject_id, probe, 1, dim, FPIRS[0], len(draw.enrolled))
    largest = max(largest, abs(threshold - answer["threshold"]))
    service.delete_everybody()
    return Checked(len(draw.enrolled), len(picked), agreed, largest)


def _samples_of(draw: Draw, people: Sequence[Person]) -> list[bytes]:
    """The files behind the rows of hold(): impostors, then probes."""
    impostors = [sample for n in draw.impostors for sample in people[n].samples]
    probes = [
        sample
        for column in range(draw.probed)
        for number, sample in enumerate(people[draw.enrolled[column]].samples)
        if number not in set(draw.chosen[column].tolist())
    ]
    return impostors + probes


def _enrolled_with(
    service: Service, people: Sequence[Person], embedded: Sequence[Counted], templates: int, dim: int
) -> tuple[str, bytes]:
    """A subject with so many templates, whose thresholds can be asked for, and a probe."""
    subject_id = f"templates-{templates}-dim-{dim}"  # a sample is stored once for each subject
    person = next(
        person for person, rows in zip(people, embedded, strict=True) if len(rows) == len(person.samples) > templates
    )
    service.enroll_templates(subject_id, person.samples, templates)
    return subject_id, person.samples[-1]


if __name__ == "__main__":
    main()
