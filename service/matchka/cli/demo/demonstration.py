"""The demonstration: real people are enrolled, probed and identified over HTTP, and what happened is printed.

Where radio is served, signals that are made on the spot are classified as well.

Its subjects have ids that nobody else has, and are deleted at its end, so that they never answer in others' place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from matchka.cli.demo.demo_small_faces import demonstrate_small_faces, reads_small_faces
from matchka.cli.demo.demo_speech import MODEL as PHONEMES
from matchka.cli.demo.demo_speech import demonstrate_speech
from matchka.cli.demo.demo_subjects import DemoSubjects
from matchka.cli.demo.joint_demo import demonstrate_jointly
from matchka.cli.demo.radio_demo import MODEL as RADIO
from matchka.cli.demo.radio_demo import demonstrate_radio
from matchka.cli.output.scores import required, shown
from matchka.client import Client
from matchka.client.answers import IdentifyAnswer
from matchka.errors import InvalidFieldError


@dataclass(frozen=True)
class Cast:
    """Who takes part, by the folders that `matchka-export samples` writes.

    Attributes:
        model: the model asked for, and the folder of its samples.
        enrolled: person -> how many of the person's samples are enrolled; the rest are probes.
        impostors: people who are not enrolled.
        suffix: of the files.
    """

    model: str
    enrolled: Mapping[str, int]
    impostors: tuple[str, ...]
    suffix: str


CASTS: Final = (
    Cast("voice", {"librivox": 3, "cards": 3, "goforward": 2}, ("forever", "chan3"), ".wav"),
    Cast("face", {"obama": 2}, ("biden",), ".jpg"),
)


@dataclass(frozen=True)
class Probe:
    """A sample that was not enrolled, and the person it is of."""

    person: str
    sample: Path


@dataclass(frozen=True)
class Result:
    """What the service said of a probe: its similarity to each enrolled person, identify's answer, and whom it names.

    `identified_as` is a person of the demonstration, another subject's id, or None for an impostor.
    """

    probe: Probe
    similarities: dict[str, float]
    identified: IdentifyAnswer
    identified_as: str | None

    @property
    def is_nearest_to_own(self) -> bool:
        """Whether the most similar enrolled person is the probe's own; an impostor has none."""
        own = self.similarities.get(self.probe.person)
        return own is not None and own == max(self.similarities.values())

    @property
    def is_identified(self) -> bool:
        """Whether identify named the probe's own person."""
        return self.identified_as == self.probe.person


def run_demonstration(client: Client, samples: Path, console: Console) -> bool:
    """Demonstrate every served model: enrol, probe with other samples and with impostors', print tables.

    Nobody whom it enrolled is left at its end, whether it succeeds, fails or is interrupted.

    Args:
        client: of a ready service.
        samples: folder with one folder for each model, and in it one for each person.
        console: where the tables go.

    Returns: whether every probe of an enrolled person is most similar to its own person, and, where only one person is
        enrolled, more similar than any impostor; and, where what is said is heard, every clip says its own text rather
        than others. Decisions do not enter.
    """
    models = client.models().models
    served = {model.name for model in models}
    subjects = DemoSubjects(client, console)
    try:
        outcomes = [
            _play(client, subjects, cast, samples / cast.model, console) for cast in CASTS if cast.model in served
        ]
        if served.issuperset(cast.model for cast in CASTS):
            demonstrate_jointly(client, subjects, samples, console)
        if any(model.name == "face" and reads_small_faces(model) for model in models):
            demonstrate_small_faces(client, subjects.subject_of("obama"), samples / "face", console)
        if PHONEMES in served:
            outcomes.append(demonstrate_speech(client, samples, console))
        if RADIO in served:
            demonstrate_radio(client, console)
        return all(outcomes)
    finally:
        subjects.delete_all()


def _play(client: Client, subjects: DemoSubjects, cast: Cast, folder: Path, console: Console) -> bool:
    files = {person: _samples_of(folder, person, cast) for person in (*cast.enrolled, *cast.impostors)}
    table = Table("person", "enrolled from", title=f"{cast.model}: enrolled")
    for person, count in cast.enrolled.items():
        subjects.enroll(person, files[person][:count], cast.model)
        table.add_row(person, ", ".join(file.name for file in files[person][:count]))
    console.print(table)
    probes = [Probe(person, file) for person in files for file in files[person][cast.enrolled.get(person, 0) :]]
    shown = track(probes, "Probing", console=console, transient=True)
    results = [_probe(client, subjects, cast, probe) for probe in shown]
    console.print(_result_table(cast, results))
    own = [result for result in results if result.probe.person in cast.enrolled]
    others = [result for result in results if result.probe.person in cast.impostors]
    nearest = sum(result.is_nearest_to_own for result in own)
    console.print(
        f"{cast.model}: {nearest} of {len(own)} probes are most similar to their own person; "
        f"{sum(result.is_identified for result in own)} of {len(own)} were identified as that person; "
        f"{sum(result.identified.match is not None for result in others)} of {len(others)} samples of impostors "
        "were given a name.\n"
    )
    return nearest == len(own) and (len(cast.enrolled) > 1 or _is_apart(own, others))


def _is_apart(own: list[Result], others: list[Result]) -> bool:
    """With one person enrolled, "nearest to its own" says nothing; then impostors must be less similar."""
    least = min(max(result.similarities.values()) for result in own)
    return all(max(result.similarities.values()) < least for result in others)


def _samples_of(folder: Path, person: str, cast: Cast) -> list[Path]:
    files = sorted((folder / person).glob(f"*{cast.suffix}"))
    if len(files) <= cast.enrolled.get(person, 0):
        raise InvalidFieldError(
            "The demonstration's samples are not there.",
            value=folder / person,
            remedy="Fetch them with `matchka-export samples`.",
        )
    return files


def _probe(client: Client, subjects: DemoSubjects, cast: Cast, probe: Probe) -> Result:
    sample = probe.sample.read_bytes()
    similarities = {
        person: required(client.verify(subjects.subject_of(person), sample, cast.model).similarity)
        for person in cast.enrolled
    }
    identified = client.identify(sample, cast.model)
    return Result(probe, similarities, identified, subjects.person_of(identified.match))


def _result_table(cast: Cast, results: list[Result]) -> Table:
    title = f"{cast.model}: similarity to each person"
    table = Table("probe", *cast.enrolled, "threshold", "identified as", title=title)
    for kind in ("", "impostor "):
        for result in results:
            if (result.probe.person in cast.impostors) == bool(kind):
                table.add_row(f"{kind}{result.probe.person} {result.probe.sample.stem}", *_cells(result))
        table.add_section()
    return table


def _cells(result: Result) -> list[str]:
    best = max(result.similarities.values())
    similarities = [f"[bold]{s:.3f}[/]" if s == best else f"{s:.3f}" for s in result.similarities.values()]
    return [*similarities, shown(result.identified.threshold), escape(result.identified_as or "unknown")]
