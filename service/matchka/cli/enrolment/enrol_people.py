"""`matchka enroll --from people.csv`: the samples of a file of people, enrolled by a service."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from rich.console import Console

from matchka.cli.enrolment.display import displayed, show_summary
from matchka.cli.enrolment.errors import OutcomeFileError
from matchka.cli.enrolment.journal import SUFFIX, Journal, opened_journal
from matchka.cli.enrolment.outcomes import PeopleEnrolled, Tally, outcome_file
from matchka.cli.enrolment.people_file import PeopleFile, read_people
from matchka.cli.enrolment.requests import Terms
from matchka.cli.enrolment.sender import Patience, Sender
from matchka.cli.enrolment.workers import interruptible, outcomes_of
from matchka.client import Client
from matchka.client.answers import ModelAnswer
from matchka.errors import MatchkaError, UnknownModelError


@dataclass(frozen=True)
class Run:
    """How the people of a file are enrolled.

    Attributes:
        jobs: so many subjects at once.
        patience_s: seconds without an answer after which the run ends.
        journal: in place of the one beside the file.
        report: a CSV file with a row for each sample.
        options: of the command, as fields are called, which refusals name in place of fields.
        anew: enrol those as well who were enrolled before and deleted since.
    """

    jobs: int
    patience_s: float
    journal: Path | None = None
    report: Path | None = None
    options: Collection[str] = ()
    anew: bool = False


def enrol_people(
    client: Client, path: Path, model_of: Callable[[Path], str], terms: Terms, run: Run, console: Console
) -> PeopleEnrolled:
    """Enrol the people of a file.

    Args:
        client: of the service.
        path: of the file.
        model_of: the model of a sample whose row names none.
        terms: of every enrolment.
        run: how.
        console: where people see how far it is.

    Raises:
        PeopleFileError: the file cannot be read, or has faults.
        JournalError: the journal is none of this service and key, or cannot be written.
        OutcomeFileError: the report cannot be written.
        UnknownModelError: a row's model is not served.
        MatchkaError: the service is not there, went away or had no room for too long, or refuses the key.
    """
    people = read_people(path, model_of)
    served = _served(client, people)
    if people.unused:
        console.print(f"columns that are not used: {', '.join(people.unused)}", markup=False, highlight=False)
    journal_path = run.journal or path.with_name(path.name + SUFFIX)
    _require_apart(run.report, path, journal_path)
    tally, stop = Tally(len(people.rows)), Event()
    try:
        with (
            opened_journal(journal_path, client.url, client.key_id, run.anew) as journal,
            outcome_file(run.report) as write,
            displayed(console, tally.rows) as display,
            interruptible(stop, display.say),
        ):
            for line in _deleted_since(served, people, journal):
                display.say(line)
            patience = Patience(run.patience_s, display.say)
            versions = {name: model.version for name, model in served.items()}
            sender = Sender(client, people, versions, terms, journal, patience, stop, run.options)
            with outcomes_of(people.subjects(), sender.outcomes, run.jobs, stop) as outcomes:
                for found in outcomes:
                    tally.add(found)
                    write(found)
                    display.show(tally)
    except MatchkaError:
        if tally.counts.total():
            show_summary(console, tally.summary())
        raise
    return tally.summary()


def _require_apart(report: Path | None, *others: Path) -> None:
    """Refuse a report that would be written over what is read."""
    for other in others:
        if report is not None and report.resolve() == other.resolve():
            raise OutcomeFileError(
                "The report would take the place of what is read.", value=report, remedy="Name another with --report."
            )


def _served(client: Client, people: PeopleFile) -> dict[str, ModelAnswer]:
    """The version that enrols of every model, so that a wrong address, key or model ends the run before all else."""
    served = {model.name: model for model in client.models().models if model.current}
    for row in people.rows:
        if row.model not in served:
            raise UnknownModelError(
                f"{people.path}, line {row.line}: The service has no such model; it has {', '.join(sorted(served))}.",
                value=row.model,
                remedy="Correct the column model, or name one with --model.",
            )
    return served


def _deleted_since(served: Mapping[str, ModelAnswer], people: PeopleFile, journal: Journal) -> Iterator[str]:
    """What to say where fewer are enrolled than the journal knows: nothing else tells that they are passed over."""
    for name, model in served.items():
        here = {row.subject_id for row in people.rows if row.model == name}
        known = len(here & journal.subjects(name, model.version))
        if model.subjects < known:
            yield (
                f"{name}: {known} of these people are enrolled, by the journal; the service has {model.subjects} in "
                "all. Who was deleted since stays so; to enrol them again, add --anew."
            )
