"""How long a request is waited for, and what a refusal says of its files."""

from pathlib import Path
from threading import Event

import pytest

from matchka.cli.enrolment.journal import opened_journal
from matchka.cli.enrolment.outcomes import Status
from matchka.cli.enrolment.people_file import read_people
from matchka.cli.enrolment.requests import Terms
from matchka.cli.enrolment.sender import Patience, Sender, ends_all, names_of
from matchka.client import Client, retries
from matchka.errors import RequestFailedError, ServiceUnreachableError
from tests.factories.faulty_proxy import faulty_proxy
from tests.factories.people import stored, write_people
from tests.factories.refusing_service import refusing_service
from tests.factories.small_server import SmallServer

VERSIONS = {"voice": "1.0.0"}
GONE = ServiceUnreachableError("The service does not answer.", remedy="Start it.")


def refusal(status: int, code: str, value: str | None = None) -> RequestFailedError:
    return RequestFailedError("No.", remedy="Do.", value=value, status=status, code=code)


def test_patience_lasts_for_its_seconds_without_an_answer_and_anew_after_one():
    said: list[str] = []
    patience = Patience(3600.0, said.append)
    patience.require(GONE)
    patience.require(GONE)
    patience.answered()
    patience.answered()
    patience.require(GONE)
    silent = "The service does not answer. It is asked again for 3600 s."
    assert said == [silent, "The service answers again.", silent]
    with pytest.raises(ServiceUnreachableError):
        Patience(0.0, said.append).require(GONE)


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (refusal(401, "unauthorized"), True),
        (refusal(403, "missing_scope", "enroll"), True),
        (refusal(403, "missing_scope", "append"), False),  # of one that is enrolled
        (refusal(409, "likely_duplicate"), False),
        (refusal(503, "vault_locked"), True),
        (refusal(429, "too_many_requests"), True),
        (refusal(429, "too_many_attempts"), False),  # of one subject
        (GONE, False),
    ],
)
def test_run_ends_where_every_request_would_be_refused(error: RequestFailedError, ends: bool):
    assert ends_all(error) is ends


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, ""),
        ("ada", "ada"),
        ("ada, ben", "ada ben"),
        (", ".join(f"subject-{n:04}" for n in range(40)), " ".join(f"subject-{n:04}" for n in range(8))),
    ],
)
def test_names_of_a_likely_duplicate_are_those_that_are_whole_in_its_value(value: str | None, names: str):
    assert names_of(refusal(409, "likely_duplicate", value).value) == names


def test_request_that_waits_to_be_sent_again_is_left_where_the_run_is_interrupted(
    small_server: SmallServer, tmp_path: Path
):
    people = read_people(write_people(tmp_path, 1, 3), lambda _file: "voice")
    (rows,) = people.subjects()
    stop = Event()
    cuts = frozenset(range(1, 100))

    def files_of(sender: Sender) -> list[tuple[str, Status]]:
        return [(one.file, one.status) for found in sender.outcomes(rows) for one in found]

    def interrupt(_text: str) -> None:
        stop.set()

    with (
        faulty_proxy(int(small_server.url.rpartition(":")[2]), cuts=cuts) as proxy,
        Client(proxy.url) as client,
        opened_journal(tmp_path / "journal", proxy.url, None) as journal,
    ):
        sender = Sender(client, people, VERSIONS, Terms(), journal, Patience(3600.0, interrupt), stop)
        assert files_of(sender) == []
        assert stored(small_server.client()) == {}
        proxy.cuts = frozenset()
        stop.clear()
        sender = Sender(client, people, VERSIONS, Terms(), journal, Patience(3600.0, interrupt), stop)
        assert files_of(sender) == [(f"1-{take}.wav", Status.ENROLLED) for take in range(3)]


@pytest.mark.parametrize("retry_after", ["3600", "9" * 400])
@pytest.mark.parametrize(("status", "code"), [(503, "vault_locked"), (429, "too_many_requests")])
def test_service_without_room_for_as_long_as_a_request_is_waited_for_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, code: str, retry_after: str
):
    monkeypatch.setattr(retries, "LONGEST_PAUSE_S", 0.01)
    people = read_people(write_people(tmp_path, 1, 1), lambda _file: "voice")
    with (
        refusing_service(status, code, Retry_After=retry_after) as service,
        Client(service.url) as client,
        opened_journal(tmp_path / "journal", service.url, None) as journal,
    ):
        sender = Sender(client, people, VERSIONS, Terms(), journal, Patience(0.05, print), Event())
        with pytest.raises(RequestFailedError) as refused:
            list(sender.outcomes(people.rows))
    assert (refused.value.code, refused.value.retry_after_s) == (code, min(float(retry_after), 86400.0))


def test_copies_that_the_service_does_not_name_are_told_of_requests_of_one_file_alone(tmp_path: Path):
    people = read_people(write_people(tmp_path, 1, 3), lambda _file: "voice")
    with (
        refusing_service(409, "duplicate_sample") as service,
        Client(service.url) as client,
        opened_journal(tmp_path / "journal", service.url, None) as journal,
    ):
        sender = Sender(client, people, VERSIONS, Terms(), journal, Patience(3600.0, print), Event())
        found = [one for told in sender.outcomes(people.rows) for one in told]
    assert [(one.file, one.status) for one in found] == [(f"1-{take}.wav", Status.PRESENT) for take in range(3)]
    assert service.refused == 5  # of three files, two and one, and then of each of the two
