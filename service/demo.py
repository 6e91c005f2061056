"""The demonstration: real people are enrolled, probed and identified over HTTP, and what happened is printed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import track
from rich.table import Table

from service.client import Client
from service.errors import InvalidFieldError, RequestFailedError
from service.schemas import IdentifyAnswer

# Folders of the samples (see `matchka-export samples`): how many of a person's clips are enrolled; the rest are probes.
ENROLLED: Final = {"librivox": 3, "cards": 3, "goforward": 2}
STRANGERS: Final = ("forever", "chan3")
SUBJECT_PREFIX: Final = "demo:"
MODEL: Final = "voice"


@dataclass(frozen=True)
class Probe:
    """A clip that was not enrolled, and the person it is of."""

    person: str
    clip: Path


@dataclass(frozen=True)
class Result:
    """What the service said of a probe: its similarity to each enrolled person, and identify's answer."""

    probe: Probe
    similarities: dict[str, float]
    identified: IdentifyAnswer

    @property
    def is_nearest_to_own(self) -> bool:
        """Whether the most similar enrolled person is the probe's own; strangers have none."""
        own = self.similarities.get(self.probe.person)
        return own is not None and own == max(self.similarities.values())


def run_demonstration(client: Client, samples: Path, console: Console) -> bool:
    """Enrol three people, probe with their other clips and with two strangers, and print a table.

    Args:
        client: of a ready service.
        samples: folder with one folder of WAV files for each person.
        console: where the table goes.

    Returns: whether every probe of an enrolled person is most similar to its own person. Decisions do not enter.
    """
    clips = {person: _clips_of(samples, person) for person in (*ENROLLED, *STRANGERS)}
    enrolment = Table("person", "enrolled from", title="Enrolled")
    for person, count in ENROLLED.items():
        _enroll_afresh(client, SUBJECT_PREFIX + person, clips[person][:count])
        enrolment.add_row(person, ", ".join(clip.name for clip in clips[person][:count]))
    console.print(enrolment)
    probes = [Probe(person, clip) for person in clips for clip in clips[person][ENROLLED.get(person, 0) :]]
    results = [_probe(client, probe) for probe in track(probes, "Probing", console=console, transient=True)]
    console.print(_result_table(results))
    own = [result for result in results if result.probe.person in ENROLLED]
    nearest = sum(result.is_nearest_to_own for result in own)
    named_strangers = sum(r.identified.match is not None for r in results if r.probe.person in STRANGERS)
    console.print(
        f"{nearest} of {len(own)} probes are most similar to their own person; "
        f"{sum(_is_right(r) for r in own)} of {len(own)} were identified as that person; "
        f"{named_strangers} of {len(results) - len(own)} clips of strangers were given a name."
    )
    return nearest == len(own)


def _clips_of(samples: Path, person: str) -> list[Path]:
    clips = sorted((samples / person).glob("*.wav"))
    if len(clips) <= ENROLLED.get(person, 0):
        raise InvalidFieldError(
            "The demonstration's recordings are not there.",
            value=samples / person,
            remedy="Fetch them with `matchka-export samples`.",
        )
    return clips


def _enroll_afresh(client: Client, subject_id: str, clips: list[Path]) -> None:
    try:
        client.delete_subject(subject_id)  # left by an earlier demonstration
    except RequestFailedError as error:
        if error.code != "unknown_subject":
            raise
    client.enroll(subject_id, list(clips), MODEL)


def _probe(client: Client, probe: Probe) -> Result:
    sample = probe.clip.read_bytes()
    similarities = {person: client.verify(SUBJECT_PREFIX + person, sample, MODEL).similarity for person in ENROLLED}
    return Result(probe, similarities, client.identify(sample, MODEL))


def _is_right(result: Result) -> bool:
    return result.identified.match == SUBJECT_PREFIX + result.probe.person


def _result_table(results: list[Result]) -> Table:
    table = Table("probe", *ENROLLED, "threshold", "identified as", title="Similarity to each person")
    for kind in ("", "stranger "):
        for result in results:
            if (result.probe.person in STRANGERS) == bool(kind):
                table.add_row(f"{kind}{result.probe.person} {result.probe.clip.stem}", *_cells(result))
        table.add_section()
    return table


def _cells(result: Result) -> list[str]:
    best = max(result.similarities.values())
    similarities = [f"[bold]{s:.3f}[/]" if s == best else f"{s:.3f}" for s in result.similarities.values()]
    match = result.identified.match
    name = "unknown" if match is None else match.removeprefix(SUBJECT_PREFIX)
    return [*similarities, f"{result.identified.threshold:.3f}", name]
