"""Before the load, uncounted: is the host there, does it serve what is needed, is everybody enrolled?"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import requests

from loadtests.scenarios.material import Enrolment, Material
from loadtests.scenarios.scenario import Scenario

ANSWER_S: Final = 5.0  # for a first word; a host that takes longer is none to begin with
ENROL_S: Final = 60.0
GALLERY_MODEL: Final = "voice"
AT_ONCE: Final = 32  # files of one enrolment
ALREADY_ENROLLED: Final = 409  # by an earlier run


class HostFailedError(Exception):
    """The host cannot be put under this load: it does not answer, or lacks what the scenario needs."""


@dataclass(frozen=True)
class Service:
    """What the host says of itself: its version, and its bundles by name, version and graph."""

    version: str
    bundles: tuple[str, ...]


def look_at(url: str, keys: tuple[str, ...], scenario: Scenario) -> Service:
    """Whether a host can be put under a scenario at all; needs no samples, and changes nothing.

    Args:
        url: of the service.
        keys: one of each tenant; empty where none is in force.
        scenario: to be run.

    Raises: HostFailedError: it does not answer, is not ready, or lacks a model or a key.
    """
    if len(keys) < scenario.tenants:
        raise HostFailedError(
            f"scenario {scenario.name} needs the keys of {scenario.tenants} tenants, and has {len(keys)}: make each "
            "with `matchka keys create load --tenant NAME --scopes all`, and give them as LOAD_KEYS=key,key,…"
        )
    _ask(url, "/readyz", None)
    for key in keys or (None,):
        served = _ask(url, "/v1/models", key)["models"]
        if missing := sorted(scenario.models - {model["name"] for model in served}):
            raise HostFailedError(
                f"scenario {scenario.name} needs the model {', '.join(missing)}, which {url} does not serve"
            )
    bundles = tuple(f"{model['name']} {model['version']} ({model.get('graph', 'float')})" for model in served)
    return Service(_ask(url, "/openapi.json", next(iter(keys), None))["info"]["version"], bundles)


def enrol_everybody(url: str, keys: tuple[str, ...], scenario: Scenario, material: Material) -> None:
    """Enrol in each tenant whom a scenario needs.

    Raises: HostFailedError: it does not answer, or refuses an enrolment.
    """
    for key in keys or (None,):
        for enrolment in _needed(scenario, material):
            _enrol(url, key, enrolment)


def _needed(scenario: Scenario, material: Material) -> Iterator[Enrolment]:
    """Everybody once, however many kinds of calls need them."""
    everybody = dict.fromkeys(one for kind, _ in scenario.mix for one in kind.enrolments(material))
    yield from everybody
    samples = itertools.cycle(sample for _, sample in material.samples(GALLERY_MODEL))
    for number, sample in zip(range(scenario.gallery), samples, strict=False):
        yield Enrolment(f"load:gallery:{number}", GALLERY_MODEL, (sample,))


def _enrol(url: str, key: str | None, enrolment: Enrolment) -> None:
    files = [("file", ("sample", sample)) for sample in enrolment.samples[:AT_ONCE]]
    fields = {"model": enrolment.model, "subject_id": enrolment.subject_id, "force": "true"}
    try:
        answer = requests.post(
            f"{url}/v1/enroll", data=fields, files=files, headers=authorization(key), timeout=ENROL_S
        )
    except requests.RequestException as error:
        raise HostFailedError(f"{url} did not answer an enrolment: {error}") from error
    if answer.status_code not in (201, ALREADY_ENROLLED):
        raise HostFailedError(f"{url} refused an enrolment with {answer.status_code}: {answer.text[:300]}")


def _ask(url: str, path: str, key: str | None) -> dict:
    try:
        answer = requests.get(f"{url}{path}", headers=authorization(key), timeout=ANSWER_S)
    except requests.RequestException as error:
        raise HostFailedError(f"{url} does not answer: {error}") from error
    if answer.status_code != 200:
        raise HostFailedError(f"{url}{path} answers {answer.status_code}: {answer.text[:300]}")
    try:
        return answer.json()
    except ValueError as error:
        raise HostFailedError(f"{url}{path} answers no JSON; is it a service of matchka?") from error


def authorization(key: str | None) -> dict[str, str]:
    """The header of a key, where there is one."""
    return {} if key is None else {"Authorization": f"Bearer {key}"}
