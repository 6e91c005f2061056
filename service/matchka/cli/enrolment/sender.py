"""The enrolment of one subject after the other: what is sent, what is waited for, and what every answer means."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from threading import Event, Lock
from typing import Final

from matchka.cli.enrolment.journal import Entry, Journal
from matchka.cli.enrolment.outcomes import Outcome, Status, outcome_of
from matchka.cli.enrolment.people_file import PeopleFile, Row
from matchka.cli.enrolment.requests import (
    Loaded,
    Terms,
    UnusableFileError,
    fits,
    halves,
    idempotency_key,
    load,
    named_format,
)
from matchka.cli.output.own_words import in_own_words
from matchka.client import Client
from matchka.client.answers import EnrollAnswer
from matchka.errors import MatchkaError, RequestFailedError, ServiceUnreachableError

PAUSE_S: Final = 1.0  # where the service does not say how long
NO_ROOM: Final = (429, 503)
SUBJECT_WAITS: Final = "too_many_attempts"  # 429 of one subject; all others are of the key or the service
TOO_LARGE: Final = ("body_too_large", "too_many_files")
PRESENT: Final = "duplicate_sample"
DUPLICATE: Final = "likely_duplicate"
UNDONE: Final = "enrolment_undone"
UNDONE_REMEDY: Final = (
    "To enrol it anew, name it alone, `matchka enroll SUBJECT FILE`; or, all who were deleted, add --anew."
)


class InterruptedSendingError(Exception):
    """The run was interrupted while a request waited to be sent again."""


class Patience:
    """How long the run goes on without an answer of the service. Workers share it.

    Args:
        limit_s: seconds without any answer.
        say: is told when a silence begins, and when it ends.
    """

    def __init__(self, limit_s: float, say: Callable[[str], None]) -> None:
        self.limit_s = limit_s
        self._say = say
        self._silent_since: float | None = None
        self._lock = Lock()

    def answered(self) -> None:
        """Note an answer."""
        with self._lock:
            was_silent, self._silent_since = self._silent_since is not None, None
        if was_silent:
            self._say("The service answers again.")

    def require(self, error: ServiceUnreachableError) -> None:
        """Note that no answer came. Raises: ServiceUnreachableError: the same, where none came for too long."""
        now = time.monotonic()
        with self._lock:
            is_first = self._silent_since is None
            self._silent_since = now if self._silent_since is None else self._silent_since
            silent_s = now - self._silent_since
        if silent_s >= self.limit_s:
            raise error
        if is_first:
            self._say(f"{error.detail} It is asked again for {self.limit_s:g} s.")


class Sender:
    """Enrols subjects. Threads may share it.

    Args:
        client: of the service.
        people: whose samples.
        versions: model -> the version that enrols now.
        terms: of every enrolment.
        journal: of what is enrolled.
        patience: with the service.
        stop: set where nothing more is to be sent.
        options: of the command, as fields are called, which refusals name in place of fields.
    """

    def __init__(
        self,
        client: Client,
        people: PeopleFile,
        versions: Mapping[str, str],
        terms: Terms,
        journal: Journal,
        patience: Patience,
        stop: Event,
        options: Collection[str] = (),
    ) -> None:
        self._client = client
        self._people = people
        self._versions = versions
        self._terms = terms
        self._journal = journal
        self._patience = patience
        self._stop = stop
        self._options = options

    def outcomes(self, rows: Sequence[Row]) -> Iterator[list[Outcome]]:
        """Enrol the samples of one subject and model that are not enrolled yet.

        Raises:
            RequestFailedError: the key is unknown or may not enrol, or the service had no room for too long.
            ServiceUnreachableError: the service did not answer for too long.
            JournalError: what was enrolled cannot be written down.
        """
        piece: list[Loaded] = []
        for row in rows:
            if self._stop.is_set():
                return
            try:
                one = load(row, self._people.sample(row))
            except UnusableFileError as error:
                yield [outcome_of(row, Status.FAILED, code=error.code, detail=error.detail, remedy=error.remedy)]
                continue
            if not fits(piece, one):
                yield from self._sent(piece)
                piece = []
            before = self._journal.enrolled(row, self._versions[row.model], one.digest)
            if before is not None:
                told = {"template_id": before.template_id or "", "similar_subjects": before.similar_subjects}
                yield [outcome_of(row, Status.PRESENT, **told)]
            else:
                piece.append(one)
        if piece:
            yield from self._sent(piece)

    def _sent(self, piece: Sequence[Loaded]) -> Iterator[list[Outcome]]:
        if self._stop.is_set():
            return
        version = self._versions[piece[0].row.model]
        try:
            answer = self._answer(piece, version)
            found, version = self._enrolled(piece, answer), answer.version  # perhaps another replica's
        except InterruptedSendingError:
            return
        except RequestFailedError as error:
            if len(piece) > 1 and (error.code in TOO_LARGE or _names_too_few(piece, error)):
                for half in halves(piece):
                    yield from self._sent(half)
                return
            found = self._refused(piece, error)
        known = [(one, outcome) for one, outcome in zip(piece, found, strict=True) if outcome.status != Status.FAILED]
        self._journal.add(_entry(one, version, outcome) for one, outcome in known)
        yield found

    def _answer(self, piece: Sequence[Loaded], version: str) -> EnrollAnswer:
        """Send a request until it is answered.

        Raises:
            InterruptedSendingError: nothing more is to be sent, and this request was not answered.
            RequestFailedError: it is refused.
        """
        row, (chosen, sample_format) = piece[0].row, self._terms.of_samples
        terms = replace(self._terms, of_samples=(chosen, sample_format or named_format(piece)))
        waits_until = time.monotonic() + self._patience.limit_s
        while True:
            try:
                answer = self._client.enroll(
                    row.subject_id,
                    [one.sample for one in piece],
                    row.model,
                    *terms.of_samples,
                    on_duplicate=terms.on_duplicate,
                    on_error="skip",
                    force=terms.force,
                    consent=terms.consent,
                    purpose=terms.purpose,
                    expires_at=terms.expires_at,
                    idempotency_key=idempotency_key(piece, version, terms, self._journal.begun),
                )
            except ServiceUnreachableError as error:
                self._patience.require(error)
                pause_s = PAUSE_S
            except RequestFailedError as error:
                self._patience.answered()
                if error.status not in NO_ROOM or time.monotonic() >= waits_until:
                    raise
                told_s = PAUSE_S if error.retry_after_s is None else error.retry_after_s
                pause_s = min(told_s, max(0.0, waits_until - time.monotonic()))
            else:
                self._patience.answered()
                return answer
            if self._stop.wait(pause_s):
                raise InterruptedSendingError

    def _enrolled(self, piece: Sequence[Loaded], answer: EnrollAnswer) -> list[Outcome]:
        skipped = {one.file: one for one in answer.skipped}
        templates = {one.file: one.template_id or "" for one in answer.files}
        similar = " ".join(other.subject_id for other in answer.similar_subjects or ())
        found = []
        for place, one in enumerate(piece, start=1):
            if place in skipped:
                problem = skipped[place]
                found.append(self._judged(one.row, problem.code, problem.detail, problem.remedy))
                continue
            earlier = self._journal.earlier(one.row, one.digest)
            detail = remedy = ""
            if earlier is not None:
                detail = "The file was changed; what it held before stays enrolled."
                remedy = f"`matchka subjects delete-template {earlier.template_id}`" if earlier.template_id else ""
            told = {"template_id": templates.get(place, ""), "detail": detail, "remedy": remedy}
            found.append(outcome_of(one.row, Status.ENROLLED, similar_subjects=similar, **told))
            similar = ""  # it is of the subject, and told once
        return found

    def _refused(self, piece: Sequence[Loaded], error: RequestFailedError) -> list[Outcome]:
        """What a refusal of all files says of each; those that it does not name share its reason.

        Raises: RequestFailedError: the same, where it would be that of every request.
        """
        if ends_all(error):
            raise error
        skipped = {one.file: one for one in error.skipped}
        whole = (error.code, error.detail, UNDONE_REMEDY if error.code == UNDONE else error.remedy)
        reasons = (
            (skipped[place].code, skipped[place].detail, skipped[place].remedy) if place in skipped else whole
            for place in range(1, len(piece) + 1)
        )
        found = [self._judged(one.row, *reason) for one, reason in zip(piece, reasons, strict=True)]
        first = next((place for place, one in enumerate(found) if one.code == DUPLICATE), None)
        if first is not None:  # told once, as those that are only reported
            found[first] = replace(found[first], similar_subjects=names_of(error.value))
        return found

    def _judged(self, row: Row, code: str, detail: str, remedy: str) -> Outcome:
        if code == PRESENT:
            return outcome_of(row, Status.PRESENT)
        told = {"detail": in_own_words(detail, self._options), "remedy": in_own_words(remedy, self._options)}
        return outcome_of(row, Status.FAILED, code=code, **told)


def ends_all(error: MatchkaError) -> bool:
    """Whether every other request would be refused as well.

    By a key that is unknown or may not enrol; or by a service that had no room for as long as a request is waited for.
    """
    if not isinstance(error, RequestFailedError):
        return False
    if error.status in NO_ROOM:
        return error.code != SUBJECT_WAITS
    return error.status == 401 or (error.code == "missing_scope" and error.value == "enroll")


def _names_too_few(piece: Sequence[Loaded], error: RequestFailedError) -> bool:
    """Whether copies were found by a service that does not say which of the files they are."""
    return error.code == PRESENT and len(error.skipped) < len(piece)


def names_of(value: str | None) -> str:
    """Whom a likely duplicate may be, with a space between them; of a value that was cut, those that are whole."""
    names, cut, _ = (value or "").partition("…")
    whole = names.split(", ")[: -1 if cut else None]
    return " ".join(whole)


def _entry(one: Loaded, version: str, outcome: Outcome) -> Entry:
    row = one.row
    template_id = outcome.template_id or None
    return Entry(row.subject_id, row.model, version, row.file, one.digest, template_id, outcome.similar_subjects)
