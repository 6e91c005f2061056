"""Is a voice and a face together two factors? Who is accepted, of people put together from speakers and faces.

    python -m loadtests.fusion.measure --url http://127.0.0.1:8009 --data ../shared/data

A running service embeds, states its thresholds and decides on a sample of whole requests; the rest is counted here,
over all pairs of samples of many pairings. Nothing was trained on these people, but the thresholds were set on them.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import requests
from rich.console import Console
from rich.progress import track
from rich.table import Table

from loadtests.fusion.chimeras import CASES, Rule, Share, deal, shares, tally
from loadtests.identification.people import Person, read_people
from loadtests.identification.service import TIMEOUT_S, Service
from loadtests.scoring import Counted

JOINT = "voice+face"
KINDS = ("voice", "face")
SUBJECT = "fusion:{}"
TEMPLATES = (1, 3)
FLOORS = (5e-2, 1e-2, 1e-3)
SUM = "sum"
PAIRINGS = 60
CHECKED_PEOPLE = 15
SEED = 20261121
# what the default has to hold: one part is not enough, and one's own person gets in
TARGET_FLOOR, MOST_ONE_PART, LEAST_OWN, OWN_TEMPLATES = 1e-2, 0.02, 0.92, 3


@dataclass(frozen=True)
class Kind:
    """Everybody with two samples or more of one kind."""

    service: Service
    people: list[Person]
    embedded: list[Counted]

    @property
    def counts(self) -> list[int]:
        """Samples of each."""
        return [len(rows) for rows in self.embedded]


def main() -> None:
    """Print a table for each number of templates, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8009")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--cache", type=Path, default=Path("build/fusion"))
    arguments = parser.parse_args()
    kinds = [open_kind(arguments.url, model, arguments.models, arguments.data, arguments.cache) for model in KINDS]
    fusion = json.loads((arguments.models / JOINT / "fusion.json").read_text(encoding="utf-8"))
    content: dict[str, Any] = {"models": fusion["models"], "pairings": PAIRINGS, "templates": {}}
    console = Console()
    for templates in TEMPLATES:
        generator = np.random.default_rng([SEED, templates])
        rules = read_rules(kinds, fusion, templates)
        checked, agreed = check_decisions(kinds, rules, templates, generator)
        measured = measure(kinds, rules, templates, generator)
        able = [sum(count > templates for count in kind.counts) for kind in kinds]
        console.print(table_of(measured, templates, able))
        console.print(f"Whole decisions of the service: {agreed} of {checked} as counted here.\n")
        content["templates"][str(templates)] = {
            "able": dict(zip(KINDS, able, strict=True)),
            "decisions": {"checked": checked, "agreed": agreed},
            "accepted": {
                rule: {case: asdict(share) for case, share in found.items()} for rule, found in measured.items()
            },
        }
    content["targets"] = targets_of(content["templates"])
    for target, verdict in content["targets"].items():
        console.print(f"{target}: {verdict}")
    path = arguments.cache / "accepted.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    console.print(f"{path}")


def open_kind(url: str, model: str, models: Path, data: Path, cache: Path) -> Kind:
    """Embed everybody nobody trained on who has two samples or more."""
    service = Service(url, model, models)
    people = [person for person in read_people(model, data) if person.unseen and len(person.samples) > 1]
    return Kind(service, people, service.embed_people(people, cache))


def measure(
    kinds: Sequence[Kind], rules: dict[str, Rule], templates: int, generator: np.random.Generator
) -> dict[str, dict[str, Share]]:
    """Shares accepted by rule and case, over all pairings."""
    voices, faces = kinds
    comparisons = voices.service.comparison, faces.service.comparison
    found = []
    for _ in track(range(PAIRINGS), f"Pairing ({_said(templates)})", console=Console(stderr=True)):
        pairing = deal((voices.counts, faces.counts), templates, generator)
        found.append(tally(voices.embedded, faces.embedded, comparisons, pairing, templates, rules, generator))
    identities = len(voices.people), len(faces.people)
    return {rule: shares(found, rule, identities, generator) for rule in rules}


def read_rules(kinds: Sequence[Kind], fusion: dict[str, Any], templates: int) -> dict[str, Rule]:
    """The service's thresholds for references of so many templates, asked of it, as rules on similarities."""
    samples = [next(p.samples for p in kind.people if len(p.samples) > templates) for kind in kinds]
    probes = dict(zip(KINDS, (own[-1] for own in samples), strict=True))
    subject = SUBJECT.format("thresholds")
    for kind, own in zip(kinds, samples, strict=True):
        kind.service.enroll_templates(subject, own, templates)
    lines = [_calibration(kind.service.about, templates) for kind in kinds]
    weights = [fusion["weights"][name] * line["scale"] for name, line in zip(KINDS, lines, strict=True)]
    shift = fusion["offset"] + sum(
        fusion["weights"][name] * line["offset"] for name, line in zip(KINDS, lines, strict=True)
    )
    rules = {}
    for name, fields in {SUM: {"require": SUM}, **{f"{f:g}": {"max_fmr_each": f"{f:g}"} for f in FLOORS}}.items():
        answer = verify(kinds[0].service.url, subject, probes, fields)
        floors = tuple(-1.0 if name == SUM else answer["parts"][kind]["threshold"] for kind in KINDS)
        # the answer's threshold is tanh(half the fused ratio's)
        least = 2.0 * math.atanh(answer["threshold"]) - shift
        rules[name] = Rule((weights[0], weights[1]), least, (floors[0], floors[1]))
    delete(kinds[0].service.url, subject)
    return rules


def check_decisions(
    kinds: Sequence[Kind], rules: dict[str, Rule], templates: int, generator: np.random.Generator
) -> tuple[int, int]:
    """Whole decisions over HTTP beside those computed here: how many, and how many agree."""
    voices, faces = kinds
    url = voices.service.url
    checked = agreed = 0
    people = deal((voices.counts, faces.counts), templates, generator).enrolled[:CHECKED_PEOPLE]
    for number, (speaker, face) in enumerate(track(people, "Whole decisions", console=Console(stderr=True))):
        subject = SUBJECT.format(number)
        references = []
        for kind, own in zip(kinds, (speaker, face), strict=True):
            kind.service.enroll(subject, kind.people[own].samples[:templates])
            references.append(kind.embedded[own].of(slice(templates)).reference())
        other = people[(number + 1) % len(people)]
        for probed in ((speaker, face), (other[0], face), (speaker, other[1]), tuple(other)):
            rows = [templates if n == own else 0 for n, own in zip(probed, (speaker, face), strict=True)]
            probes = {k.service.model: k.people[n].samples[row] for k, n, row in zip(kinds, probed, rows, strict=True)}
            similarities = [
                k.service.comparison.table(
                    k.embedded[n].of(slice(row, row + 1)), reference, k.service.about["full_dim"]
                )[0]
                for k, n, row, reference in zip(kinds, probed, rows, references, strict=True)
            ]
            for name in (SUM, f"{TARGET_FLOOR:g}"):
                fields = {"require": SUM} if name == SUM else {"max_fmr_each": name}
                expected = bool(rules[name].accepts(similarities[0], similarities[1])[0])
                agreed += verify(url, subject, probes, fields)["match"] == expected
                checked += 1
        delete(url, subject)
    return checked, agreed


def verify(url: str, subject_id: str, probes: dict[str, bytes], fields: dict[str, str]) -> Any:
    """One joint verification."""
    parts = [(f"{name}_file", (name, sample)) for name, sample in probes.items()]
    form = {"model": JOINT, "subject_id": subject_id, **fields}
    answer = requests.post(f"{url}/v1/verify", data=form, files=parts, timeout=TIMEOUT_S)
    answer.raise_for_status()
    return answer.json()


def delete(url: str, subject_id: str) -> None:
    """Delete what was enrolled here, and nobody else."""
    requests.delete(f"{url}/v1/subjects/{subject_id}", timeout=TIMEOUT_S).raise_for_status()


def table_of(measured: dict[str, dict[str, Share]], templates: int, able: Sequence[int]) -> Table:
    """A section for each rule, a row for each case."""
    title = f"accepted, {_said(templates)} each, of {able[0]} speakers and {able[1]} faces"
    table = Table("require", "who", "%", "95 %", "accepted", title=title)
    for rule, found in measured.items():
        name = SUM if rule == SUM else f"both, {rule}"
        for case, share in found.items():
            interval = f"{100 * share.low:.2f}-{100 * share.high:.2f}"
            table.add_row(name, case.split(", ")[-1], f"{100 * share.value:.2f}", interval, _attempts(share))
            name = ""
        table.add_section()
    return table


def targets_of(by_templates: dict[str, Any]) -> dict[str, str]:
    """Whether the default holds what it has to, with the figures."""
    floor = f"{TARGET_FLOOR:g}"
    found = {}
    for templates, rows in by_templates.items():
        accepted = rows["accepted"][floor]
        for case in CASES[1:3]:
            value = accepted[case]["value"]
            found[f"{case}, {_said(int(templates))} <= {MOST_ONE_PART:.0%}"] = _verdict(value, value <= MOST_ONE_PART)
    own = by_templates[str(OWN_TEMPLATES)]["accepted"][floor][CASES[0]]["value"]
    found[f"{CASES[0]}, {_said(OWN_TEMPLATES)} >= {LEAST_OWN:.0%}"] = _verdict(own, own >= LEAST_OWN)
    return found


def _verdict(value: float, holds: bool) -> str:
    return f"{100 * value:.2f} %, {'held' if holds else 'MISSED'}"


def _calibration(about: dict[str, Any], templates: int) -> dict[str, float]:
    calibration: dict[str, float] = about["per_dim"][str(about["full_dim"])]["calibration"][str(templates)]
    return calibration


def _attempts(share: Share) -> str:
    return f"{share.accepted:,} of {share.tried:,}"


def _said(templates: int) -> str:
    return f"{templates} template{'s' if templates > 1 else ''}"


if __name__ == "__main__":
    main()
