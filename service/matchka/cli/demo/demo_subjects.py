"""The subjects of a demonstration: enrolled under ids that nobody else has, and deleted at its end."""

import secrets
from pathlib import Path
from typing import Final

from rich.console import Console

from matchka.cli.output.scores import shown
from matchka.client import Client
from matchka.errors import MatchkaError, RequestFailedError

SUBJECT_PREFIX: Final = "demo:"


class DemoSubjects:
    """The subjects of one demonstration, which it alone enrols and deletes.

    Args:
        client: of a ready service.
        console: where warnings go.
    """

    def __init__(self, client: Client, console: Console) -> None:
        self._client = client
        self._console = console
        self._prefix = f"{SUBJECT_PREFIX}{secrets.token_hex(4)}:"  # no subject of anybody else, nor of an earlier run
        self._enrolled: list[str] = []

    def subject_of(self, person: str) -> str:
        """The subject id of a person of this demonstration."""
        return self._prefix + person

    def person_of(self, subject_id: str | None) -> str | None:
        """The person of a subject id; somebody else's id stays as it is."""
        return None if subject_id is None else subject_id.removeprefix(self._prefix)

    def enroll(self, person: str, files: list[Path], model: str) -> None:
        """Enrol a person, and name the subjects of others that answer to the same samples."""
        subject_id = self.subject_of(person)
        self._enrolled.append(subject_id)  # before: an answer that never comes may have stored them
        answer = self._client.enroll(subject_id, list(files), model)
        for other in answer.similar_subjects or ():
            if not other.subject_id.startswith(self._prefix):
                self._console.print(
                    f"{other.subject_id}, enrolled before, is similar to {person} ({shown(other.similarity)}) and may "
                    f"be named instead; `matchka subjects delete {other.subject_id}` deletes it.",
                    style="yellow",
                    highlight=False,
                    markup=False,
                )

    def delete_all(self) -> None:
        """Delete what was enrolled; says what could not be deleted."""
        for subject_id in self._enrolled:
            try:
                self._client.delete_subject(subject_id)
            except RequestFailedError as error:
                if error.code != "unknown_subject":
                    self._report(subject_id, error)
            except MatchkaError as error:
                self._report(subject_id, error)
        self._enrolled.clear()

    def _report(self, subject_id: str, error: MatchkaError) -> None:
        remains = f"{subject_id} remains enrolled: {error}\nDelete it with `matchka subjects delete {subject_id}`."
        self._console.print(remains, style="yellow", highlight=False, markup=False)
