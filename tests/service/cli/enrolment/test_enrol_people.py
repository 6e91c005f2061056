"""`matchka enroll --from` against a real server: what is enrolled, what is told, and what a second run does."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from matchka.settings import Settings
from matchka.store.keys.records import KeySpec
from matchka.store.store import opened_store
from tests.factories.bundles import dim_report, embedding_output, write_bundle
from tests.factories.command_line import run
from tests.factories.faulty_proxy import faulty_proxy
from tests.factories.people import stored, write_people
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer, serving, small_settings

# made-up voices of different people are alike: only above this are two taken for one
POINTS = [(1e-1, 0.975), (1e-2, 0.985), (1e-3, 0.99)]
KEY = "0123456789abcdef"


def port_of(server: SmallServer) -> int:
    return int(server.url.rpartition(":")[2])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def report_of(path: Path) -> dict[str, tuple[str, str]]:
    return {row["file"]: (row["status"], row["code"]) for row in rows_of(path)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with one bundle, which tells made-up people apart."""
    report = dim_report()
    for count in report["operating_points"]:
        points = [{"fmr": fmr, "threshold": threshold, "measured": True} for fmr, threshold in POINTS]
        report["operating_points"][count] = points
    write_bundle(tmp_path / "models" / "voice", outputs={"embeddings": embedding_output(report=report)})
    return small_settings(tmp_path)


@pytest.fixture
def server(start_small_server: Callable[[Settings], SmallServer], settings: Settings) -> SmallServer:
    """A server of its own: the tests count all that it has."""
    return start_small_server(settings)


def test_people_of_a_file_are_enrolled_and_a_second_run_sends_nothing(server: SmallServer, tmp_path: Path):
    people = write_people(tmp_path / "in", 5, 3)
    with faulty_proxy(port_of(server)) as proxy:
        done = run(server, "enroll", "--from", people, "--url", proxy.url, "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout) == {
            "enrolled": 15,
            "present": 0,
            "failed": 0,
            "not_reached": 0,
            "failures": [],
            "notes": [],
        }
        assert (proxy.sent, stored(server.client())) == (5, {f"p:{n}": 3 for n in range(1, 6)})
        again = run(server, "enroll", "--from", people, "--url", proxy.url, "--json")
        assert (again.exit_code, json.loads(again.stdout)["present"], proxy.sent) == (0, 15, 5)


@pytest.mark.parametrize("jobs", [1, 4])
def test_bad_rows_are_told_and_mended_ones_alone_are_enrolled(server: SmallServer, tmp_path: Path, jobs: int):
    people = write_people(tmp_path, 4, 2)
    (tmp_path / "2-0.wav").unlink()
    (tmp_path / "3-1.wav").write_bytes(b"no audio")
    (tmp_path / "4-1.wav").write_bytes(sample(9))  # somebody else's
    with people.open("a") as file:
        file.write("p:1,1-0.wav\np:5,.\np:6,3-1.wav\n")
    command = ("enroll", "--from", people, "--report", tmp_path / "report.csv", "--jobs", jobs)
    done = run(server, *command)
    assert done.exit_code == 1, done.output
    found = report_of(tmp_path / "report.csv")
    assert {file: code for file, (status, code) in found.items() if status == "failed"} == {
        "2-0.wav": "unreadable_file",
        "3-1.wav": "not_audio",
        "4-0.wav": "samples_differ",  # nobody can say which of two is hers
        "4-1.wav": "samples_differ",
        ".": "no_file",
    }
    assert found["1-0.wav"] == ("present", "")
    assert stored(server.client()) == {"p:1": 2, "p:2": 1, "p:3": 1}
    assert f"line 3, p:2, 2-0.wav: {tmp_path / '2-0.wav'} cannot be read" in done.stdout
    assert "a key with the scope admin may send --force." in done.stdout

    for name, data in (("2-0", sample(2)), ("3-1", sample(3, 1)), ("4-1", sample(4, 1))):
        (tmp_path / f"{name}.wav").write_bytes(data)
    people.write_text("".join(line for line in people.read_text().splitlines(True) if not line.startswith("p:5")))
    again = run(server, *command, "--json")
    counts = json.loads(again.stdout)
    # p:6 has the clip of p:3, and is another subject
    assert ("p:3" in [note["similar_subjects"] for note in counts["notes"] if note["subject_id"] == "p:6"]) or (
        "p:6" in [note["similar_subjects"] for note in counts["notes"] if note["subject_id"] == "p:3"]
    )
    assert (again.exit_code, counts["enrolled"], counts["present"]) == (0, 5, 5), again.output
    assert stored(server.client()) == {"p:1": 2, "p:2": 2, "p:3": 2, "p:4": 2, "p:6": 1}


def test_report_of_a_run_that_goes_on_has_what_the_runs_before_it_were_answered(server: SmallServer, tmp_path: Path):
    people = write_people(tmp_path, 2, 2)
    with people.open("a") as file:
        file.write("twin,1-0.wav\n")  # of p:1, under another name
    command = ("enroll", "--from", people, "--report", tmp_path / "report.csv", "--jobs", 1)
    assert run(server, *command).exit_code == 0
    first = rows_of(tmp_path / "report.csv")
    assert [row["similar_subjects"] for row in first if row["subject_id"] == "twin"] == ["p:1"]
    assert all(row["template_id"] for row in first)

    (tmp_path / "2-2.wav").write_bytes(sample(2, 2))
    with people.open("a") as file:
        file.write("p:2,2-2.wav\n")
    done = run(server, *command, "--json")
    assert (done.exit_code, json.loads(done.stdout)["notes"]) == (0, []), done.output
    *known, new = sorted(rows_of(tmp_path / "report.csv"), key=lambda row: int(row["line"]))
    assert new["status"] == "enrolled"
    assert known == [{**row, "status": "present"} for row in sorted(first, key=lambda row: int(row["line"]))]


def test_likely_duplicate_that_is_refused_is_told_with_whom_it_may_be(server: SmallServer, tmp_path: Path):
    people = write_people(tmp_path, 1, 1)
    (tmp_path / "2-0.wav").write_bytes(b"no audio")
    with people.open("a") as file:
        file.write("twin,2-0.wav\ntwin,1-0.wav\n")
    command = ("enroll", "--from", people, "--on-duplicate", "refuse", "--report", tmp_path / "report.csv")
    done = run(server, *command, "--jobs", 1)
    assert (done.exit_code, "may be the same person as p:1" in done.stdout) == (1, True), done.output
    told = {row["line"]: (row["code"], row["similar_subjects"]) for row in rows_of(tmp_path / "report.csv")}
    assert told == {"2": ("", ""), "3": ("not_audio", ""), "4": ("likely_duplicate", "p:1")}


def test_run_without_its_journal_or_against_its_order_enrols_nothing_twice(server: SmallServer, tmp_path: Path):
    people = write_people(tmp_path, 3, 3)
    assert run(server, "enroll", "--from", people).exit_code == 0
    journal = tmp_path / "people.csv.journal"
    journal.unlink()
    assert run(server, "enroll", "--from", people).exit_code == 0  # the same keys
    journal.unlink()
    header, *lines = people.read_text().splitlines()
    people.write_text("\n".join([header, *reversed(lines)]))
    done = run(server, "enroll", "--from", people, "--json")  # other keys
    assert (done.exit_code, json.loads(done.stdout)["present"]) == (0, 9)
    assert stored(server.client()) == {"p:1": 3, "p:2": 3, "p:3": 3}


def test_file_that_changed_since_is_enrolled_beside_the_one_before_which_is_told(server: SmallServer, tmp_path: Path):
    people = write_people(tmp_path, 1, 2)
    assert run(server, "enroll", "--from", people, "--report", tmp_path / "report.csv").exit_code == 0
    template = next(row["template_id"] for row in rows_of(tmp_path / "report.csv") if row["file"] == "1-0.wav")
    (tmp_path / "1-0.wav").write_bytes(sample(1, 7))
    done = run(server, "enroll", "--from", people)
    assert done.exit_code == 0
    remedy = f"`matchka subjects delete-template {template}`"
    assert f"The file was changed; what it held before stays enrolled. {remedy}" in done.stdout
    assert stored(server.client()) == {"p:1": 3}
    assert run(server, "subjects", "delete-template", template).exit_code == 0


def test_people_who_were_deleted_are_enrolled_again_only_where_that_is_said(server: SmallServer, tmp_path: Path):
    people, journal = write_people(tmp_path, 3, 2), tmp_path / "people.csv.journal"
    assert run(server, "enroll", "--from", people).exit_code == 0
    with server.client() as client:
        client.delete_subject("p:2")
    told = run(server, "enroll", "--from", people, "--json")
    assert (told.exit_code, json.loads(told.stdout)["present"]) == (0, 6)
    assert "voice: 3 of these people are enrolled, by the journal; the service has 2 in all." in told.stderr
    known = journal.read_text()
    journal.unlink()
    refused = run(server, "enroll", "--from", people, "--json")
    failures = json.loads(refused.stdout)["failures"]
    assert [(one["subject_id"], one["code"], "add --anew" in one["remedy"]) for one in failures] == [
        ("p:2", "enrolment_undone", True)
    ] * 2
    assert stored(server.client()) == {"p:1": 2, "p:3": 2}

    journal.write_text(known)
    done = run(server, "enroll", "--from", people, "--anew", "--json")
    assert (done.exit_code, json.loads(done.stdout)["enrolled"], "journal" in done.stderr) == (0, 2, False), done.output
    again = run(server, "enroll", "--from", people, "--json")
    assert (json.loads(again.stdout)["present"], "journal" in again.stderr) == (6, False)
    assert stored(server.client()) == {"p:1": 2, "p:2": 2, "p:3": 2}


def test_subject_with_more_files_than_a_request_takes_is_enrolled_whole(
    start_small_server: Callable[[Settings], SmallServer], settings: Settings, tmp_path: Path
):
    people = write_people(tmp_path / "in", 1, 34)
    server = start_small_server(settings.model_copy(update={"max_files": 10}))
    done = run(server, "enroll", "--from", people)
    assert done.exit_code == 0, done.output
    assert stored(server.client()) == {"p:1": 34}


def test_uploads_that_break_off_are_sent_again_and_stored_once(server: SmallServer, tmp_path: Path):
    people = write_people(tmp_path, 6, 2)
    with faulty_proxy(port_of(server), cuts=frozenset({1, 4, 5})) as proxy:
        done = run(server, "enroll", "--from", people, "--url", proxy.url, "--jobs", 2)
        assert (done.exit_code, proxy.sent) == (0, 9), done.output
    assert stored(server.client()) == {f"p:{n}": 2 for n in range(1, 7)}


def test_run_ends_and_says_how_to_go_on_where_nobody_answers_for_too_long(server: SmallServer, tmp_path: Path):
    people = write_people(tmp_path, 6, 1)
    with faulty_proxy(port_of(server), cuts=frozenset(range(3, 100))) as proxy:
        done = run(server, "enroll", "--from", people, "--url", proxy.url, "--jobs", 1, "--patience", 0)
        assert done.exit_code == 2
        assert "does not answer" in done.stderr
        assert "Run the same command again" in done.stderr
        assert stored(server.client()) == {"p:1": 1, "p:2": 1}
        proxy.cuts = frozenset()
        assert run(server, "enroll", "--from", people, "--url", proxy.url).exit_code == 0
    assert stored(server.client()) == {f"p:{n}": 1 for n in range(1, 7)}


def test_wrong_key_and_one_that_may_not_enrol_end_the_run_at_once(
    start_small_server: Callable[[Settings], SmallServer], settings: Settings, tmp_path: Path
):
    server = start_small_server(settings.model_copy(update={"api_key": SecretStr(KEY)}))
    people = write_people(tmp_path / "in", 3, 1)
    wrong = run(server, "enroll", "--from", people, MATCHKA_API_KEY="wrong")
    assert (wrong.exit_code, "MATCHKA_API_KEY" in wrong.stderr) == (2, True)
    verifier = server.client(KEY).create_key("verifier", scopes="verify").key
    refused = run(server, "enroll", "--from", people, MATCHKA_API_KEY=verifier)
    assert (refused.exit_code, "scope enroll" in refused.stderr) == (2, True)
    assert stored(server.client(KEY)) == {}


def test_journal_of_one_tenant_tells_nothing_to_another_and_a_rotated_key_goes_on_without_it(
    start_small_server: Callable[[Settings], SmallServer], settings: Settings, tmp_path: Path
):
    settings.data_dir.mkdir(parents=True)
    with opened_store(settings.effective_database_url) as store:  # before the service starts, which is to know the key
        other = store.keys.create(KeySpec("other", "other")).secret
    server = start_small_server(settings.model_copy(update={"api_key": SecretStr(KEY)}))
    admin = server.client(KEY)
    one, rotated = (admin.create_key(name, scopes="enroll append").key for name in ("one", "rotated"))
    people, journal = write_people(tmp_path / "in", 3, 1), tmp_path / "in" / "people.csv.journal"
    assert run(server, "enroll", "--from", people, MATCHKA_API_KEY=one).exit_code == 0
    for key in (other, rotated, KEY):
        refused = run(server, "enroll", "--from", people, MATCHKA_API_KEY=key)
        assert (refused.exit_code, "is of another key" in refused.stderr) == (2, True), refused.output
    assert one.rpartition("_")[2] not in journal.read_text()  # the secret
    elsewhere = run(server, "enroll", "--from", people, "--journal", tmp_path / "own", "--json", MATCHKA_API_KEY=other)
    assert json.loads(elsewhere.stdout)["enrolled"] == 3
    journal.unlink()
    again = run(server, "enroll", "--from", people, "--json", MATCHKA_API_KEY=rotated)
    assert (again.exit_code, json.loads(again.stdout)["present"]) == (0, 3)
    assert stored(admin) == {f"p:{n}": 1 for n in range(1, 4)}


def test_what_cannot_be_run_is_refused_before_anything_is_sent(server: SmallServer, tmp_path: Path):
    people = write_people(tmp_path, 2, 1)
    for more, told in (
        (("ada",), "SUBJECT_ID does not go with --from"),
        (("--mode", "create"), "--mode does not go with --from"),
        (("--record", 1), "--record does not go with --from"),
        (("--camera",), "--camera does not go with --from"),
        (("--model", "own"), "line 2: The service has no such model; it has voice."),
        (("--report", tmp_path / "none" / "report.csv"), "The report cannot be written"),
        (("--report", people), "The report would take the place of what is read"),
        (("--report", tmp_path / "own", "--journal", tmp_path / "own"), "The report would take the place"),
        (("--journal", people), "This is no journal"),
        (("--url", "http://127.0.0.1:1"), "does not answer"),
    ):
        done = run(server, "enroll", "--from", people, *more)
        assert (done.exit_code, told in done.stderr) == (2, True), done.output
    people.write_text(people.read_text() + "a b,1-0.wav\n")
    done = run(server, "enroll", "--from", people)
    assert (done.exit_code, f"{people}, line 4: subject_id" in done.stderr) == (2, True), done.output
    assert run(server, "enroll").exit_code == 2
    assert stored(server.client()) == {}


@pytest.mark.parametrize(
    "option",
    [("--report", "report.csv"), ("--journal", "own"), ("--jobs", 4), ("--patience", 0), ("--anew",)],
    ids=lambda one: one[0],
)
def test_option_of_a_file_of_people_is_refused_where_one_subject_is_enrolled(
    server: SmallServer, tmp_path: Path, option: tuple[object, ...]
):
    (tmp_path / "ada.wav").write_bytes(sample(1))
    done = run(server, "enroll", "ada", tmp_path / "ada.wav", *option)
    assert (done.exit_code, f"{option[0]} belongs to --from" in done.stderr) == (2, True), done.output
    assert stored(server.client()) == {}


@pytest.mark.slow
def test_requests_beyond_a_keys_rate_wait_as_they_are_told(
    start_small_server: Callable[[Settings], SmallServer], settings: Settings, tmp_path: Path
):
    server = start_small_server(settings.model_copy(update={"api_key": SecretStr(KEY)}))
    slow = server.client(KEY).create_key("slow", scopes="enroll verify", requests_per_s=2.0).key
    people = write_people(tmp_path / "in", 5, 1)
    done = run(server, "enroll", "--from", people, "--patience", 60, MATCHKA_API_KEY=slow)
    assert done.exit_code == 0, done.output
    assert stored(server.client(KEY)) == {f"p:{n}": 1 for n in range(1, 6)}


def test_semicolons_and_a_byte_order_mark_of_excel_work(server: SmallServer, tmp_path: Path):
    people = write_people(tmp_path, 2, 1)
    people.write_bytes(b"\xef\xbb\xbf" + people.read_bytes().replace(b",", b";").replace(b"\n", b"\r\n"))
    shutil.copy(people, tmp_path / "excel.csv")
    assert run(server, "enroll", "--from", tmp_path / "excel.csv").exit_code == 0
    assert stored(server.client()) == {"p:1": 1, "p:2": 1}


def test_people_are_enrolled_anew_where_another_version_of_the_model_is_served(settings: Settings, tmp_path: Path):
    people = write_people(tmp_path / "in", 3, 2)
    with faulty_proxy(0) as proxy:  # an address that stays
        command = ("enroll", "--from", people, "--url", proxy.url, "--json")
        for version, enrolled in (("1.0.0", 6), ("1.0.0", 0), ("2.0.0", 6), ("2.0.0", 0)):
            if version == "2.0.0" and enrolled:
                shutil.rmtree(tmp_path / "models" / "voice")
                write_bundle(tmp_path / "models" / "voice", version=version)
            with serving(settings) as server:
                proxy.target = port_of(server)
                done = json.loads(run(server, *command).stdout)
                assert (done["enrolled"], done["enrolled"] + done["present"]) == (enrolled, 6)
                (current,) = [model for model in server.client().models().models if model.current]
                assert (current.version, current.subjects_to_reenroll) == (version, 0)
