"""What a browser sends for a page of another site, for a name bound anew to this machine, and for the own page."""

import random
from collections.abc import Iterator
from typing import Final

from loadtests.server import HOST
from loadtests.torture.hostile.exchange import Case
from loadtests.torture.hostile.generators.order import endless
from loadtests.torture.hostile.wire import FACE_SUBJECT, Material, form, head

FOREIGN_HOSTS: Final = (
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.nip.io",
    "127.0.0.1.evil.example:8000",
    "evil.example.",
    "127.0.0.1@evil.example",
    "evil.example#127.0.0.1",
    "localhost,evil.example",
    "xn--lcalhost-54a",
    "10.0.0.1",
    "[::2]",
    "[::ffff:10.0.0.1]",
    "0x0a000001",
)
FOREIGN_HEADERS: Final[tuple[dict[str, str], ...]] = (
    {"Origin": "http://evil.example"},
    {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": f"http://{HOST}.evil.example"},
    {"Origin": f"http://{HOST}@evil.example"},
    {"Origin": "https://evil.example", "Referer": f"http://{HOST}/"},
    {"Origin": "chrome-extension://abcdef"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
)
OWN_HEADERS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"Host": "localhost"},
    {"Host": "localhost:8000"},
    {"Host": "LOCALHOST"},
    {"Host": f"{HOST}:8000"},
    {"Host": "[::1]:8000"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Host": f"{HOST}:8000", "Origin": f"http://{HOST}:8000", "Sec-Fetch-Site": "same-origin"},
)


def host_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """Names of others, as after DNS rebinding: they are lists, enrolments and deletions."""
    for host in endless(FOREIGN_HOSTS, rng):
        yield from _calls(f"Host: {host}", {"Host": host}, material)


def foreign_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """A page of another site, without a key."""
    for headers in endless(FOREIGN_HEADERS, rng):
        yield from _calls(str(headers), headers, material)


def own_cases(_material: Material, rng: random.Random) -> Iterator[Case]:
    """The service's own page and its clients, which have to be served."""
    for headers in endless(OWN_HEADERS, rng):
        yield Case(str(headers), (head("GET", "/v1/subjects", headers),))


def keyed_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """A page of another site that has a key: it may be served, and may not be allowed to read the answer."""
    for headers in endless(FOREIGN_HEADERS, rng):
        yield Case(f"GET {headers}", (head("GET", "/v1/subjects", material.authorization | headers),))
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        yield Case(f"OPTIONS {headers}", (head("OPTIONS", "/v1/embed", asked | headers | material.authorization),))


def _calls(name: str, headers: dict[str, str], material: Material) -> Iterator[Case]:
    enrolment = {"model": "face", "subject_id": FACE_SUBJECT, "file": material.picture}
    yield Case(f"list, {name}", (head("GET", "/v1/subjects", headers),))
    yield Case(f"enrol, {name}", (form("/v1/enroll", enrolment, headers),))
    yield Case(f"delete, {name}", (head("DELETE", f"/v1/subjects/{FACE_SUBJECT}", headers),))
