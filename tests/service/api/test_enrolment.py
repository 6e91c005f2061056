"""Whose samples an enrolment takes, over HTTP: modes, samples that do not agree, likely duplicates, bad files."""

import asyncio
import base64
import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from typer.testing import CliRunner

from matchka.cli.main import app
from matchka.client import AsyncClient, Client
from matchka.errors import RequestFailedError
from matchka.store.keys.keys import Keys
from matchka.store.keys.records import NO_CEILINGS, KeySpec
from matchka.store.keys.scopes import ALL_SCOPES, Scope
from matchka.store.store import opened_store
from tests.factories.bundles import dim_report, embedding_output, write_bundle
from tests.factories.samples import encoded, sample, voice
from tests.factories.slow_embedding import cosine, embedding_of
from tests.factories.small_server import SmallServer, serving, small_settings

FIRST_KEY = "0123456789abcdef0123"
TIMEOUT_S = 60
# made-up voices of different people are alike: only above this are two taken for one
POINTS = [(1e-1, 0.975), (1e-2, 0.985), (1e-3, 0.99)]
ADA, BEN = 2, 3
SILENCE = encoded(np.zeros(16000))
NUMBERS = itertools.count(1)


def strict_bundle(folder: Path) -> Path:
    report = dim_report()
    for count in report["operating_points"]:
        report["operating_points"][count] = [
            {"fmr": fmr, "threshold": threshold, "measured": True} for fmr, threshold in POINTS
        ]
    return write_bundle(folder, outputs={"embeddings": embedding_output(report=report)})


@dataclass(frozen=True)
class Service:
    """A server with keys; each test has a tenant of its own."""

    server: SmallServer
    keys: Keys

    def client(self, tenant: str, without: frozenset[Scope] = frozenset()) -> Client:
        return self.server.client(self.key(tenant, without), timeout_s=TIMEOUT_S)

    def key(self, tenant: str, without: frozenset[Scope] = frozenset()) -> str:
        """A new key's secret, in force."""
        secret = self.keys.create(KeySpec("test", tenant, ALL_SCOPES - without, NO_CEILINGS)).secret
        headers = {"Authorization": f"Bearer {secret}"}
        while requests.get(f"{self.server.url}/v1/models", headers=headers, timeout=TIMEOUT_S).status_code == 401:
            pass
        return secret


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("enrolment")
    strict_bundle(made / "models" / "voice")
    return made


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    settings = small_settings(folder, api_key=FIRST_KEY, failed_tries_per_hour=1000)
    with serving(settings) as running, opened_store(settings.effective_database_url) as store:
        yield Service(running, store.keys)


@pytest.fixture
def tenant() -> str:
    return f"tenant-{next(NUMBERS)}"


def refusal(call: Callable[..., object], *arguments: Any, **options: Any) -> tuple[int, str]:
    with pytest.raises(RequestFailedError) as refused:
        call(*arguments, **options)
    return refused.value.status, refused.value.code


def test_made_up_people_are_told_apart_by_these_thresholds():
    ada, ben = ([embedding_of(voice(person, take)) for take in range(3)] for person in (ADA, BEN))
    assert min(cosine(one, other) for one in ada for other in ada) > 0.995
    assert max(cosine(one, other) for one in ada for other in ben) < 0.9


def test_sample_of_somebody_else_is_not_added_to_a_subject(service: Service, tenant: str):
    client = service.client(tenant)
    client.enroll("ada", [sample(ADA)])
    before = client.subject("ada")
    with pytest.raises(RequestFailedError) as refused:
        client.enroll("ada", [sample(ADA, 1), sample(BEN)])
    assert (refused.value.status, refused.value.code) == (409, "differs_from_subject")
    assert refused.value.detail.startswith("File 2 of 2 ")
    assert "admin" in refused.value.remedy
    assert client.subject("ada") == before
    assert client.enroll("ada", [sample(ADA, 1)]).template_count == 2


def test_refusal_tells_no_score_to_anybody(service: Service, tenant: str):
    key = service.key(tenant)
    service.server.client(key).enroll("ada", [sample(ADA)])
    answer = requests.post(
        f"{service.server.url}/v1/enroll",
        files=[("model", (None, "voice")), ("subject_id", (None, "ada")), ("file", ("f", sample(BEN)))],
        headers={"Authorization": f"Bearer {key}"},
        timeout=TIMEOUT_S,
    )
    assert answer.json().keys() == {"type", "title", "status", "code", "detail", "value", "remedy", "request_id"}
    assert answer.json()["value"] == "ada"
    assert "." not in answer.json()["detail"].removesuffix(".")


def test_samples_of_two_people_do_not_begin_a_subject(service: Service, tenant: str):
    client = service.client(tenant)
    assert refusal(client.enroll, "both", [sample(ADA), sample(BEN)]) == (422, "samples_differ")
    mixed = [sample(ADA), sample(BEN), sample(ADA, 1)]
    with pytest.raises(RequestFailedError, match="File 2 of 3"):
        client.enroll("both", mixed)
    assert client.subjects().subjects == []
    assert client.enroll("both", [sample(ADA, take) for take in range(3)]).template_count == 3


def test_force_enrols_what_does_not_agree_and_needs_admin(service: Service, tenant: str):
    client, other = service.client(tenant), service.client(tenant, frozenset({Scope.ADMIN}))
    assert refusal(other.enroll, "both", [sample(ADA)], force=True) == (403, "missing_scope")
    assert client.enroll("both", [sample(ADA), sample(BEN)], force=True).template_count == 2
    client.enroll("ada", [sample(ADA)])
    assert client.enroll("ada", [sample(BEN)], force=True).template_count == 2


def test_mode_is_held_over_http(service: Service, tenant: str):
    client = service.client(tenant)
    assert refusal(client.enroll, "ada", [sample(ADA)], mode="append") == (404, "unknown_subject")
    client.enroll("ada", [sample(ADA)], mode="create")
    assert refusal(client.enroll, "ada", [sample(ADA, 1)], mode="create") == (409, "already_enrolled")
    assert client.enroll("ada", [sample(ADA, 1)], mode="append").template_count == 2
    assert refusal(client.enroll, "ada", [sample(ADA, 2)], mode="replace") == (422, "invalid_field")


@pytest.mark.parametrize("mode", ["create_or_append", "create", "append"])
def test_without_append_a_subject_that_is_there_is_refused_before_its_templates_are_compared(
    service: Service, tenant: str, mode: str
):
    service.client(tenant).enroll("ada", [sample(ADA)])
    client = service.client(tenant, frozenset({Scope.APPEND}))
    for person in (ADA, BEN):
        assert refusal(client.enroll, "ada", [sample(person, 1)], mode=mode) == (403, "missing_scope")


def test_samples_that_differ_are_failed_tries_of_the_subject(folder: Path):
    settings = small_settings(folder, data_dir=folder / "tries", api_key=FIRST_KEY, failed_tries_per_hour=5)
    with serving(settings) as running:
        client = running.client(FIRST_KEY, TIMEOUT_S)
        client.enroll("ada", [sample(ADA)])
        client.enroll("ben", [sample(BEN)])
        assert refusal(client.enroll, "ada", [sample(BEN, 1)]) == (409, "differs_from_subject")
        answer = client.enroll("ada", [sample(ADA, 1), sample(BEN, 2), sample(BEN, 3)], on_error="skip")
        assert [one.code for one in answer.skipped] == ["differs_from_subject"] * 2
        assert refusal(client.enroll, "ada", [sample(BEN, 4), sample(BEN, 5), sample(BEN, 6)], on_error="skip") == (
            409,
            "differs_from_subject",
        )
        assert refusal(client.enroll, "ada", [sample(ADA, 7)]) == (429, "too_many_attempts")  # 1 + 2 + 3 of 5
        assert refusal(client.verify, "ada", sample(ADA, 7)) == (429, "too_many_attempts")
        assert client.enroll("ben", [sample(BEN, 7)]).template_count == 2  # the others go on
        assert client.enroll("ada", [sample(ADA, 8)], force=True).template_count == 3  # which tells nothing
    with serving(settings) as again:
        client = again.client(FIRST_KEY, TIMEOUT_S)
        assert refusal(client.enroll, "ada", [sample(ADA, 7)]) == (429, "too_many_attempts")


def test_bad_files_are_left_out_and_listed_where_that_is_asked(service: Service, tenant: str):
    client = service.client(tenant)
    files = [SILENCE, sample(ADA), sample(ADA), b"no audio", sample(ADA, 1), sample(BEN), b""]
    assert refusal(client.enroll, "ada", files) == (422, "silence")
    answer = client.enroll("ada", files, on_error="skip")
    assert [(one.file, one.code) for one in answer.skipped] == [
        (1, "silence"),
        (3, "duplicate_sample"),
        (4, "not_audio"),
        (6, "samples_differ"),
        (7, "empty_file"),
    ]
    assert all(one.detail and one.remedy for one in answer.skipped)
    assert (len(answer.template_ids), answer.template_count) == (2, 2)
    stored = dict(zip((2, 5), answer.template_ids, strict=True))
    codes = {one.file: one.code for one in answer.skipped}
    told = [(one.file, one.template_id, one.code) for one in answer.files]
    assert told == [(number, stored.get(number), codes.get(number)) for number in range(1, 8)]
    again = client.enroll("ada", [sample(ADA, 1), sample(BEN, 1), sample(ADA, 2)], on_error="skip")
    assert [(one.file, one.code) for one in again.skipped] == [(1, "duplicate_sample"), (2, "differs_from_subject")]
    assert again.skipped[0].detail.startswith("File 1 of 3 ")
    assert again.template_count == 3
    assert client.enroll("ada", [sample(ADA, 3)], on_error="skip").skipped == []


def test_call_whose_files_are_all_bad_is_refused_with_the_first(service: Service, tenant: str):
    client = service.client(tenant)
    assert refusal(client.enroll, "ada", [SILENCE, b""], on_error="skip") == (422, "silence")
    assert client.subjects().subjects == []


def test_refusal_of_a_call_whose_files_are_all_bad_tells_each_files_own_reason(service: Service, tenant: str):
    client = service.client(tenant)
    client.enroll("ada", [sample(ADA), sample(ADA, 1)])
    with pytest.raises(RequestFailedError) as refused:
        client.enroll("ada", [SILENCE, sample(BEN), sample(ADA)], on_error="skip")
    assert [(one.file, one.code) for one in refused.value.skipped] == [
        (1, "silence"),
        (2, "differs_from_subject"),
        (3, "duplicate_sample"),
    ]
    assert all(one.detail and one.remedy for one in refused.value.skipped)
    with pytest.raises(RequestFailedError) as refused:
        client.enroll("ada", [SILENCE, sample(ADA, 2)])
    assert refused.value.skipped == ()


def test_likely_duplicate_is_reported_or_refused_and_named_to_whom_identify_would(service: Service, tenant: str):
    client = service.client(tenant)
    client.enroll("ada", [sample(ADA)])
    with pytest.raises(RequestFailedError) as refused:
        client.enroll("ada-again", [sample(ADA, 1)], on_duplicate="refuse")
    assert (refused.value.status, refused.value.code, refused.value.value) == (409, "likely_duplicate", "ada")
    unnamed = service.client(tenant, frozenset({Scope.IDENTIFY}))
    with pytest.raises(RequestFailedError) as refused:
        unnamed.enroll("ada-again", [sample(ADA, 1)], on_duplicate="refuse")
    assert (refused.value.code, refused.value.value) == ("likely_duplicate", None)
    assert "ada" not in refused.value.detail + refused.value.remedy
    assert [one.subject_id for one in client.subjects().subjects] == ["ada"]
    assert client.enroll("ben", [sample(BEN)], on_duplicate="refuse").similar_subjects == []
    assert unnamed.enroll("cyd", [sample(7)], on_duplicate="refuse").similar_subjects is None
    assert client.enroll("ada", [sample(ADA, 1)], on_duplicate="refuse").template_count == 2  # to whom they belong
    (similar,) = client.enroll("ada-again", [sample(ADA, 2)]).similar_subjects or []
    assert similar.subject_id == "ada"


def test_likely_duplicate_tells_which_files_could_not_be_read_beside_it(service: Service, tenant: str):
    client = service.client(tenant)
    client.enroll("ada", [sample(ADA)])
    with pytest.raises(RequestFailedError) as refused:
        client.enroll("again", [SILENCE, sample(ADA, 1)], on_duplicate="refuse", on_error="skip")
    assert refused.value.code == "likely_duplicate"
    assert [(one.file, one.code) for one in refused.value.skipped] == [(1, "silence")]


def test_policy_refuses_duplicates_whatever_a_call_says_unless_an_admin_forces(folder: Path):
    settings = small_settings(folder, data_dir=folder / "policy", on_duplicate="refuse")
    with serving(settings) as running:
        client = running.client(timeout_s=TIMEOUT_S)
        client.enroll("ada", [sample(ADA)])
        for given in (None, "report", "refuse"):
            assert refusal(client.enroll, "again", [sample(ADA, 1)], on_duplicate=given) == (409, "likely_duplicate")
        refused = refusal(client.enroll, "again", [sample(ADA, 1)], on_duplicate="refuse", force=True)
        assert refused == (409, "likely_duplicate")
        (similar,) = client.enroll("again", [sample(ADA, 1)], force=True).similar_subjects or []
        assert similar.subject_id == "ada"


def test_searches_that_refuse_are_bounded_as_those_that_report(folder: Path):
    settings = small_settings(folder, data_dir=folder / "searches", api_key=FIRST_KEY, failed_tries_per_hour=4)
    with serving(settings) as running, opened_store(settings.effective_database_url) as store:
        service = Service(running, store.keys)
        key = service.key("default", frozenset({Scope.IDENTIFY}))
        client = running.client(key, TIMEOUT_S)
        people = (1, 2, 3, 5, 7, 9)  # of whom nobody is another
        found = [refused_or_count(client, person) for person in people]
        assert found == [1, 1, 1, 1, 1, (429, "too_many_attempts")]
        assert client.enroll("reported", [sample(9)]).similar_subjects is None  # which tells nothing goes on


def refused_or_count(client: Client, person: int) -> object:
    try:
        return client.enroll(f"p{person}", [sample(person)], on_duplicate="refuse").template_count
    except RequestFailedError as error:
        return error.status, error.code


def test_duplicate_of_a_subject_whose_tries_have_to_wait_is_refused_and_each_counts_as_a_try(folder: Path):
    settings = small_settings(folder, data_dir=folder / "waiting", api_key=FIRST_KEY, failed_tries_per_hour=3)
    with serving(settings) as running:
        client = running.client(FIRST_KEY, TIMEOUT_S)
        client.enroll("ada", [sample(ADA)])
        for take in range(4):
            assert not client.verify("ada", sample(BEN, take)).match
        assert refusal(client.verify, "ada", sample(ADA, 1)) == (429, "too_many_attempts")
        codes = []
        for take in range(9, 20):
            with pytest.raises(RequestFailedError) as refused:
                client.enroll("again", [sample(ADA, take)], on_duplicate="refuse")
            codes.append(refused.value.code)
            assert refused.value.value is None
            if refused.value.code == "too_many_attempts":
                break
        assert codes == ["likely_duplicate"] * (len(codes) - 1) + ["too_many_attempts"]
        assert 2 <= len(codes) <= 5


def test_one_clip_as_32_templates_and_1280_times_is_one_template(service: Service, tenant: str):
    client = service.client(tenant)
    clip = sample(ADA)
    assert refusal(client.enroll, "ada", [clip] * 32) == (409, "duplicate_sample")
    assert client.subjects().subjects == []
    assert client.enroll("ada", [clip] * 32, on_error="skip").template_count == 1
    for _ in range(39):
        assert refusal(client.enroll, "ada", [clip] * 32, on_error="skip") == (409, "duplicate_sample")
    assert client.subject("ada").template_count == 1


def test_clip_in_another_lossless_file_is_the_same_sample(service: Service, tenant: str):
    client, clip = service.client(tenant), voice(ADA)
    client.enroll("ada", [encoded(clip, subtype="PCM_16")])
    stereo = np.stack([clip, clip], axis=1)
    for copy in (
        encoded(clip, kind="FLAC", subtype="PCM_16"),
        encoded(clip, subtype="PCM_24"),
        encoded(stereo, subtype="FLOAT"),
    ):
        assert refusal(client.enroll, "ada", [copy]) == (409, "duplicate_sample")


def test_of_two_people_who_begin_one_subject_at_once_one_is_let_in(service: Service, tenant: str):
    client = service.client(tenant)

    def begin(person: int) -> str:
        try:
            client.enroll("race", [sample(person, 50)])
        except RequestFailedError as error:
            return error.code
        return "enrolled"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(begin, (ADA, BEN))) == ["differs_from_subject", "enrolled"]
    assert client.subject("race").template_count == 1


@pytest.mark.parametrize("force", [True, False, None])
def test_json_takes_the_same_fields_and_flags_as_true_and_false(service: Service, tenant: str, force: bool | None):
    clips = [base64.b64encode(sample(person)).decode() for person in (ADA, BEN)]
    fields = {"mode": "create", "on_duplicate": "report", "on_error": "fail", "force": force}
    answer = requests.post(
        f"{service.server.url}/v1/enroll",
        data=json.dumps({"model": "voice", "subject_id": "both", "file": clips, **fields}),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {service.key(tenant)}"},
        timeout=TIMEOUT_S,
    )
    assert answer.status_code == (201 if force else 422), answer.text


@pytest.mark.parametrize("value", ["true", 1, "yes", [True], {"a": 1}])
def test_json_that_gives_a_flag_as_anything_else_is_refused(service: Service, tenant: str, value: object):
    answer = requests.post(
        f"{service.server.url}/v1/enroll",
        data=json.dumps({"model": "voice", "subject_id": "ada", "file": ["AAAA"], "force": value}),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {service.key(tenant)}"},
        timeout=TIMEOUT_S,
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")


def test_asynchronous_client_says_the_same(service: Service, tenant: str):
    key = service.key(tenant)

    async def go() -> None:
        async with AsyncClient(service.server.url, key) as client:
            answer = await client.enroll("ada", [sample(ADA), SILENCE], mode="create", on_error="skip")
            assert [one.code for one in answer.skipped] == ["silence"]
            for rest in ({}, {"on_duplicate": "refuse"}):
                with pytest.raises(RequestFailedError, match="does not agree"):
                    await client.enroll("ada", [sample(BEN)], mode="append", **rest)
            assert (await client.enroll("ada", [sample(BEN)], force=True)).template_count == 2

    asyncio.run(go())


def test_command_line_has_the_same_options(
    service: Service, tenant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clips = {"ada.wav": sample(ADA), "ada2.wav": sample(ADA, 1), "ben.wav": sample(BEN), "silence.wav": SILENCE}
    for name, data in clips.items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.setenv("MATCHKA_API_KEY", service.key(tenant))
    monkeypatch.chdir(tmp_path)

    def enroll(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["enroll", *arguments, "--url", service.server.url])

    done = enroll("ada", "ada.wav", "silence.wav", "--mode", "create", "--on-error", "skip")
    assert done.exit_code == 0, done.output
    assert "left out silence.wav" in done.output
    for arguments, said in (
        (("ada", "ada2.wav", "--mode", "create"), "templates of model voice already"),
        (("ada", "ben.wav"), "does not agree with what is enrolled"),
        (("again", "ada2.wav", "--on-duplicate", "refuse"), "enrolled already"),
    ):
        refused = enroll(*arguments)
        assert refused.exit_code == 2
        assert said in refused.output
    assert "2 voice templates in all" in enroll("ada", "ben.wav", "--force").output
