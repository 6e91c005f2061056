"""Every call with every scope left out, with another tenant's ids, and with keys of low ceilings."""

import itertools
import json
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import pytest
import requests
from fastapi.routing import APIRoute

from matchka.api import routes
from matchka.api.answers.decisions import HeadTurnAnswer
from matchka.api.forms import VerifyForm, check_fields
from matchka.api.routing import GuardedRouter
from matchka.api.scopes import OPEN, SCOPES
from matchka.app import create_app
from matchka.errors import CeilingError, RequestFailedError
from matchka.settings import read_settings
from matchka.store.attempts import AttemptRules, Searches
from matchka.store.keys.keys import Keys
from matchka.store.keys.records import NO_CEILINGS, Ceilings, KeySpec
from matchka.store.keys.scopes import ALL_SCOPES, DEFAULT_SCOPES, Scope
from matchka.store.store import opened_store
from tests.factories.classifiers import write_classifier
from tests.factories.parameters import SETTING, write_parameters_bundle
from tests.factories.samples import encoded, sample
from tests.factories.small_server import SmallServer, serving, small_settings
from tests.factories.spoken_tones import spoken, write_phoneme_bundle

FIRST_KEY = "0123456789abcdef0123"
TIMEOUT_S = 20
PHRASE = ("baabiy", "daadiy", "kaakiy", "maamiy")
TAKES = itertools.count()
HERS = "hers"  # a subject of another tenant


@dataclass
class Service:
    """A server with keys, and its store as another process sees it."""

    server: SmallServer
    keys: Keys
    made: dict[KeySpec, str] = field(default_factory=dict)

    def key(self, scopes: frozenset[Scope], tenant: str = "default", ceilings: Ceilings = NO_CEILINGS) -> str:
        """The secret of a key of these rights, made at its first use; waits until it is in force."""
        spec = KeySpec("test", tenant, scopes, ceilings)
        if spec not in self.made:
            self.made[spec] = self.keys.create(spec).secret
            while self.get("/v1/models", self.made[spec]).status_code == 401:
                pass
        return self.made[spec]

    def get(self, path: str, key: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return requests.get(self.server.url + path, headers=headers, timeout=TIMEOUT_S)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server of models that embed and classify, hear phones and return settings."""
    folder = tmp_path_factory.mktemp("rights")
    write_classifier(folder / "models" / "voice", "voice", embeds=True)
    write_phoneme_bundle(folder / "models" / "phonemes")
    write_parameters_bundle(folder / "models" / "tone", "tone")
    settings = small_settings(folder, api_key=FIRST_KEY, failed_tries_per_hour=1000)
    with serving(settings) as running, opened_store(settings.effective_database_url) as store:
        running.client(FIRST_KEY).enroll("ada", [sample(1, next(TAKES))])
        yield Service(running, store.keys)


def send(
    service: Service, call: tuple[str, str], key: str, subject: str = "ada", take: int | None = None, **ids: str
) -> requests.Response:
    """A request that succeeds where the key may do it; of a new sample, unless it is said which."""
    method, path = call
    voice = {"model": "voice"}
    clip = {"file": sample(1, next(TAKES) if take is None else take)}
    said = {"file": encoded(spoken(PHRASE))}
    settings = {name: json.dumps(SETTING).encode() for name in ("a", "b")}
    bodies: dict[str, tuple[dict[str, str], dict[str, bytes]]] = {
        "/v1/embed": (voice, clip),
        "/v1/embeddings": (voice, {"input": clip["file"]}),
        "/v1/enroll": ({**voice, "subject_id": subject}, clip),
        "/v1/verify": ({**voice, "subject_id": subject}, clip),
        "/v1/compare": (voice, {"file_a": sample(1, 1), "file_b": sample(1, 2)}),
        "/v1/challenges": ({"subject_id": subject}, {}),
        "/v1/identify": (voice, clip),
        "/v1/classify": (voice, clip),
        "/v1/transcribe": ({}, said),
        "/v1/pronounce": ({"text": " ".join(PHRASE)}, said),
        "/v1/generate": ({"model": "tone", "descriptor": "warm"}, {}),
        "/v1/morph": ({"model": "tone"}, settings),
        "/v1/keys": ({"name": "made over HTTP"}, {}),
    }
    fields, files = bodies.get(path, ({}, {})) if method == "POST" else ({}, {})
    if method == "PATCH":
        fields = {"purpose": "doors"}
    parts = [(name, (None, value)) for name, value in fields.items()]
    return requests.request(
        method,
        service.server.url + path.format(subject_id=subject, **ids),
        files=[*parts, *((name, ("f", data)) for name, data in files.items())] or None,
        headers={"Authorization": f"Bearer {key}"},
        timeout=TIMEOUT_S,
    )


def owned(service: Service, tenant: str, subject: str) -> dict[str, str]:
    """A subject of a tenant, with the ids of a template and of a key there."""
    client = service.server.client(service.key(ALL_SCOPES, tenant))
    client.enroll(subject, [sample(1, next(TAKES))])
    template = client.subject(subject).templates[0].template_id
    return {"subject": subject, "template_id": template, "key_id": service.keys.create(KeySpec("x", tenant)).key.key_id}


FILES_ONLY = {"docs", "page"}  # modules of routes that know nothing of anybody
FILES = {"/", "/openapi.json"}


def test_every_route_of_the_application_has_a_row_and_is_guarded():
    modules = [import_module(f"{routes.__name__}.{one.name}") for one in pkgutil.iter_modules(routes.__path__)]
    routers = [module.router for module in modules if module.__name__.rpartition(".")[2] not in FILES_ONLY]
    assert all(isinstance(router, GuardedRouter) for router in routers)
    found = {(method, route.path) for router in routers for route in router.routes for method in route.methods}
    assert found == SCOPES.keys() | OPEN


def walked(routes_or_routers: Any) -> Iterator[APIRoute]:
    """The routes of an application, those of the routers that it includes among them."""
    for one in routes_or_routers:
        if isinstance(one, APIRoute):
            yield one
        elif hasattr(one, "original_router"):
            yield from walked(one.original_router.routes)


def test_application_serves_no_other_calls_than_those_of_the_table_and_its_documentation():
    app = create_app(read_settings({}))
    served = {(method, route.path) for route in walked(app.routes) for method in route.methods}
    files = {(method, path) for method, path in served if path in FILES or path.startswith(("/docs", "/page/"))}
    assert served - files == SCOPES.keys() | OPEN


def test_call_without_a_row_cannot_be_added():
    async def endpoint() -> None:
        pass

    with pytest.raises(LookupError):
        GuardedRouter().get("/v1/new")(endpoint)


@pytest.mark.parametrize("call", SCOPES, ids=" ".join)
def test_call_is_answered_with_its_own_scope_alone_and_refused_with_all_others(service: Service, call: tuple[str, str]):
    scope = SCOPES[call]
    ids = owned(service, "default", f"subject-{next(TAKES)}")
    needed = {Scope.APPEND} if call[1] == "/v1/enroll" else set()
    if scope is not None:
        refused = send(service, call, service.key(ALL_SCOPES - {scope}), **ids)
        assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")
        assert refused.json()["value"] == scope
    answered = send(service, call, service.key(frozenset({scope or Scope.METRICS, *needed})), **ids)
    assert answered.ok, answered.text
    assert send(service, call, "mk_" + "0" * 77, **ids).status_code == 401


@pytest.mark.parametrize("call", SCOPES, ids=" ".join)
def test_call_with_the_ids_of_another_tenant_finds_and_tells_nothing(service: Service, call: tuple[str, str]):
    hers = f"{HERS}-{next(TAKES)}"
    ids = owned(service, "another", hers)
    before = service.keys.list_keys("another")
    key = service.key(ALL_SCOPES, "third")  # which has nobody
    answer = send(service, call, key, **ids)
    names_hers = "{" in call[1] or call[1] in ("/v1/verify", "/v1/challenges")
    assert answer.status_code == 404 if names_hers else answer.ok, answer.text
    if call[1] != "/v1/enroll" and not names_hers:
        assert HERS not in answer.text
        assert "another" not in answer.text
    if call == ("POST", "/v1/enroll"):  # a subject of the same id, of its own
        assert answer.json()["similar_subjects"] == []
        assert answer.json()["template_count"] == 1
        service.server.client(key).delete_subject(hers)
    still = service.server.client(service.key(ALL_SCOPES, "another")).subject(hers)
    assert [one.template_id for one in still.templates] == [ids["template_id"]]
    assert [one.revoked_at for one in service.keys.list_keys("another")] == [one.revoked_at for one in before]


def test_metrics_of_a_tenant_are_its_own_and_of_the_first_key_all(service: Service):
    for tenant in ("another", "third"):
        key = service.key(ALL_SCOPES, tenant)
        subject = f"m-{next(TAKES)}"
        service.server.client(key).enroll(subject, [sample(5, next(TAKES))])
        service.server.client(key).verify(subject, sample(5, next(TAKES)))
    seen = service.get("/metrics", service.key(frozenset({Scope.METRICS}), "third")).text
    assert 'tenant="third"' in seen
    assert 'tenant="another"' not in seen
    whole = service.get("/metrics", FIRST_KEY).text
    assert 'tenant="another"' in whole
    for of_everybody in ("matchka_similarity", "matchka_feed_position", "matchka_gallery_filled_references"):
        assert of_everybody not in seen
        assert of_everybody in whole


SCORES = {"similarity", "cosine", "probability", "threshold", "llr", "accuracy"}


def scores_in(answer: Any) -> set[str]:
    """The names of all scores of an answer that are told."""
    if isinstance(answer, list):
        return set().union(*map(scores_in, answer))
    if not isinstance(answer, dict):
        return set()
    told = {name for name in SCORES & answer.keys() if answer[name] is not None}
    return told.union(*map(scores_in, answer.values()))


def test_readiness_tells_no_counts_where_keys_are_in_force(service: Service):
    service.key(ALL_SCOPES)
    ready = requests.get(f"{service.server.url}/readyz", timeout=TIMEOUT_S)
    assert ready.json() == {"status": "ready", "subjects_to_reenroll": {}}


@pytest.mark.parametrize("call", [call for call in SCOPES if call[0] == "POST"], ids=" ".join)
def test_answer_without_the_scope_has_the_same_decisions_and_no_score(service: Service, call: tuple[str, str]):
    ids = owned(service, "default", f"subject-{next(TAKES)}")
    take = None if call[1] == "/v1/enroll" else next(TAKES)  # a sample is enrolled once only
    whole = send(service, call, service.key(ALL_SCOPES), take=take, **ids).json()
    hidden = send(service, call, service.key(ALL_SCOPES - {Scope.SCORES}), take=take, **ids).json()
    assert hidden.keys() == whole.keys()
    assert scores_in(hidden) == set()
    if "match" in whole:
        assert hidden["match"] == whole["match"]
    if call[1] in ("/v1/verify", "/v1/compare", "/v1/identify", "/v1/pronounce", "/v1/classify"):
        assert scores_in(whole)
        assert hidden.get("label") == whole.get("label")


def test_turns_of_a_head_are_scores():
    answer = HeadTurnAnswer(match=True, same_person=True, turns=[0.1, 0.7], least_turn=0.6)
    assert answer.without_scores() == answer.model_copy(update={"turns": None})


def test_candidates_without_the_scope_are_the_match_alone(service: Service):
    client = service.server.client(service.key(ALL_SCOPES, "crowd"))
    for person in (31, 32, 33):
        client.enroll(f"p{person}", [sample(person)])
    key = service.key(ALL_SCOPES - {Scope.SCORES}, "crowd")
    for person in (31, 32, 33, 34, 35):
        whole, hidden = client.identify(sample(person, 1)), service.server.client(key).identify(sample(person, 1))
        assert [one.subject_id for one in hidden.candidates] == [whole.match] * (whole.match is not None)
        assert len(whole.candidates) == 3
        assert hidden.match == whole.match


def refusal(service: Service, key: str, path: str, **fields: str) -> tuple[int, str, str | None]:
    """Status, code and value of what a call answers."""
    parts = [(name, (None, value)) for name, value in {"model": "voice", **fields}.items()]
    clips = ("file_a", "file_b") if path == "/v1/compare" else ("file",)
    answer = requests.post(
        service.server.url + path,
        files=[*parts, *((name, ("f", sample(1, next(TAKES)))) for name in clips)],
        headers={"Authorization": f"Bearer {key}"},
        timeout=TIMEOUT_S,
    )
    body = answer.json()
    return answer.status_code, body.get("code", ""), body.get("value")


@pytest.mark.parametrize(
    ("path", "name"), [("/v1/verify", "max_fmr"), ("/v1/compare", "max_fmr"), ("/v1/identify", "max_fpir")]
)
def test_rate_above_the_keys_ceiling_is_refused_and_one_that_is_left_out_lowered(
    service: Service, path: str, name: str
):
    fields = {"subject_id": "ada"} if path == "/v1/verify" else {}
    low = service.key(ALL_SCOPES, ceilings=Ceilings(max_fmr=1e-4, max_fpir=1e-4))
    assert refusal(service, low, path, **fields, **{name: "0.001"}) == (403, "ceiling", "0.001")
    assert refusal(service, low, path, **fields, **{name: "0.0001"})[0] == 200
    clips = [sample(1, next(TAKES))] * (2 if path == "/v1/compare" else 1)
    call = getattr(service.server.client(low), path.removeprefix("/v1/"))
    answer = call("ada", *clips) if path == "/v1/verify" else call(*clips)
    assert getattr(answer, name) == 1e-4


@pytest.mark.parametrize(("name", "ceiling"), [("max_fmr_each", 0.01), ("max_far", 0.01)])
def test_rates_of_parts_and_challenges_are_bounded_by_their_defaults_unless_the_key_says_more(
    name: str, ceiling: float
):
    def within(rate: float, ceilings: Ceilings) -> float:
        form = check_fields(VerifyForm, {"model": ["voice+face"], "subject_id": ["ada"], name: [str(rate)]})
        return float(getattr(form.within(ceilings), name))

    assert within(ceiling, Ceilings(max_fmr=1e-4)) == ceiling
    with pytest.raises(CeilingError):
        within(0.9999, Ceilings(max_fmr=1e-3))
    assert within(0.1, Ceilings(max_fmr=0.1)) == within(0.1, NO_CEILINGS) == 0.1


def test_similar_subjects_without_the_scope_are_at_most_five_in_the_order_of_their_names(service: Service):
    client = service.server.client(service.key(ALL_SCOPES, "alike"))
    for number in (7, 6, 5, 4, 3, 2, 1):
        client.enroll(f"p{number}", [sample(31, number)])
    whole = client.enroll("whole", [sample(31, 8)]).similar_subjects or []
    assert len(whole) == 5
    key = service.key(ALL_SCOPES - {Scope.SCORES}, "alike")
    hidden = service.server.client(key).enroll("hidden", [sample(31, 9)]).similar_subjects or []
    assert [one.subject_id for one in hidden] == ["p1", "p2", "p3", "p4", "p5"]


def test_enrolment_of_a_subject_with_templates_needs_append_and_of_a_new_one_does_not(service: Service):
    subject = f"new-{next(TAKES)}"
    key = service.key(DEFAULT_SCOPES)
    assert refusal(service, key, "/v1/enroll", subject_id=subject)[0] == 201
    assert refusal(service, key, "/v1/enroll", subject_id=subject) == (403, "missing_scope", "append")


def test_similar_subjects_are_told_with_identify_only(service: Service):
    for scopes, expected in ((ALL_SCOPES, list), (ALL_SCOPES - {Scope.IDENTIFY}, type(None))):
        client = service.server.client(service.key(scopes))
        answer = client.enroll(f"new-{next(TAKES)}", [sample(1, next(TAKES))])
        assert isinstance(answer.similar_subjects, expected)


def test_quota_that_is_reached_is_a_conflict(service: Service):
    key = service.key(ALL_SCOPES, "small", Ceilings(max_subjects=1, max_templates=1))
    assert refusal(service, key, "/v1/enroll", subject_id="one")[0] == 201
    assert refusal(service, key, "/v1/enroll", subject_id="two") == (409, "quota_reached", "two")
    assert refusal(service, key, "/v1/enroll", subject_id="one") == (409, "quota_reached", "2")


def test_requests_beyond_the_keys_rate_are_answered_with_the_time_to_wait(service: Service):
    key = service.key(ALL_SCOPES, ceilings=Ceilings(requests_per_s=0.02))
    answer = service.get("/v1/models", key)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 50


def test_keys_over_http_are_those_of_the_callers_tenant_and_change_at_once(service: Service):
    client = service.server.client(service.key(frozenset({Scope.ADMIN}), "fourth"))
    made = client.create_key("door", ["verify", "scores"], 3600.0, 0.5, 1.0, 9.0, 10, 3)
    assert (made.tenant, made.scopes) == ("fourth", ["verify", "scores"])
    assert (made.max_fmr, made.max_fpir, made.requests_per_s) == (0.5, 1.0, 9.0)
    assert (made.max_subjects, made.max_templates) == (10, 3)
    assert made.key.startswith(f"mk_{made.key_id}_")
    assert "key" not in client.keys().keys[0].model_dump()
    assert made.key_id in {one.key_id for one in client.keys().keys}
    assert service.get("/v1/models", made.key).status_code == 200
    client.revoke_key(made.key_id)
    assert service.get("/v1/models", made.key).status_code == 401
    assert client.create_key("janitor", "all").scopes == list(Scope)


def test_failed_verifications_lead_to_a_wait_for_this_key_and_subject_only(service: Service):
    folder = service.server.settings.data_dir.parent
    settings = small_settings(folder, data_dir=folder / "tries", failed_tries_per_hour=6, api_key=FIRST_KEY)
    with serving(settings) as running:
        client = running.client(FIRST_KEY)
        for person in (1, 2):  # either may nearly be the other, which counts as well
            client.enroll(f"p{person}", [sample(person)])
        right = client.verify("p1", sample(1, 1)).match
        failed = (not client.verify("p1", sample(7, take)).match for take in range(9))
        assert 5 <= answers_until_refused(failed) <= 7
        with pytest.raises(RequestFailedError) as refused:
            client.verify("p1", sample(1, 2))
        assert (refused.value.status, refused.value.code) == (429, "too_many_attempts")
        assert client.verify("p2", sample(2, 1)).match == right
        missed = (client.identify(sample(8, take), max_fpir=1e-4).match is None for take in range(9))
        assert answers_until_refused(missed) <= 7
        assert client.enroll("p3", [sample(3)]).similar_subjects is not None
        with opened_store(settings.effective_database_url) as store:
            store.attempts.note_failed("first", "default", Searches.ENROLL, 7, AttemptRules(6, 3600.0))
        assert client.enroll("p4", [sample(4)]).similar_subjects is None  # enrolment goes on
    with serving(settings) as again, pytest.raises(RequestFailedError) as refused:
        again.client(FIRST_KEY).verify("p1", sample(1, 3))
    assert refused.value.code == "too_many_attempts"


def answers_until_refused(answers: Iterator[bool]) -> int:
    """How many answers come, all of them True, before too many attempts have failed."""
    count = 0
    try:
        for answer in answers:
            assert answer
            count += 1
    except RequestFailedError as error:
        if error.code != "too_many_attempts":
            raise
        return count
    raise AssertionError("nothing was refused")


def test_failed_verifications_without_keys_lead_to_nothing(service: Service):
    folder = service.server.settings.data_dir.parent
    with serving(small_settings(folder, data_dir=folder / "keyless", failed_tries_per_hour=1)) as running:
        client = running.client()
        client.enroll("p1", [sample(1)])
        for take in range(5):
            assert not client.verify("p1", sample(7, take)).match
