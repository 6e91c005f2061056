"""Heads that HTTP does not allow: too large, without a Host, and of two lengths at once."""

import random
from collections.abc import Iterator
from typing import Final

from loadtests.server import HOST
from loadtests.torture.hostile.exchange import Case
from loadtests.torture.hostile.generators.order import endless
from loadtests.torture.hostile.wire import Material, get, head

KIB: Final = 1024
TARGET: Final = "/v1/models"
SMUGGLED: Final = f"GET /healthz HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
# Heads behind the request line, and bodies, that two servers might end at different places.
SMUGGLING: Final = (
    ("Content-Length: 6\r\nTransfer-Encoding: chunked", f"0\r\n\r\n{SMUGGLED}"),
    ("Transfer-Encoding: chunked\r\nContent-Length: 6", f"0\r\n\r\n{SMUGGLED}"),
    ("Content-Length: 0\r\nContent-Length: 44", SMUGGLED),
    ("Content-Length: 0, 44", SMUGGLED),
    ("Content-Length: +0", SMUGGLED),
    ("Content-Length: -1", SMUGGLED),
    ("Content-Length: 0x2c", SMUGGLED),
    ("Content-Length: 99999999999999999999999999", SMUGGLED),
    ("Content-Length : 0", SMUGGLED),
    ("Content-Length: 0\r\n 44", SMUGGLED),
    ("Transfer-Encoding: chunked, identity", f"0\r\n\r\n{SMUGGLED}"),
    ("Transfer-Encoding: xchunked", f"0\r\n\r\n{SMUGGLED}"),
    ("Transfer-Encoding : chunked", f"0\r\n\r\n{SMUGGLED}"),
    ("Transfer-Encoding:\x0bchunked", f"0\r\n\r\n{SMUGGLED}"),
    ("Transfer-Encoding\r\n : chunked", f"0\r\n\r\n{SMUGGLED}"),
    ("X-Folded: 1\r\n 2", SMUGGLED),
    ("X-Bare: 1\rContent-Length: 44", SMUGGLED),
    ("X-Nul: \x00", SMUGGLED),
    (": no name", SMUGGLED),
    ("No colon", SMUGGLED),
    ("Transfer-Encoding: chunked", f"-1\r\n{SMUGGLED}"),
    ("Transfer-Encoding: chunked", f"0x10\r\n{SMUGGLED}"),
    ("Transfer-Encoding: chunked", f"fffffffffffffffff\r\n{SMUGGLED}"),
)
HOSTS: Final = (
    "",
    f"Host: {HOST}\r\nHost: evil.example\r\n",
    f"Host: {HOST}\r\nHost: {HOST}\r\n",
    "Host: \r\n",
)


def large_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """Heads beyond 64 KiB: one long line, many lines, a long target, and one that comes in pieces."""
    for shape in endless(("value", "lines", "target", "name", "cookies", "pieces"), rng):
        size = rng.choice((70, 100, 120, 500)) * KIB
        long = "x" * size
        requests = {
            "value": get(TARGET, material.authorization | {"X-Long": long}),
            "lines": get(TARGET, material.authorization | {f"X-{n}": "x" * 80 for n in range(size // 90)}),
            "target": get(f"{TARGET}?{long}", material.authorization),
            "name": get(TARGET, material.authorization | {long: "1"}),
            "cookies": get(TARGET, material.authorization | {"Cookie": "a=b; " * (size // 5)}),
            "pieces": get(TARGET, material.authorization | {"X-Long": long}),
        }
        request = requests[shape]
        count = 20 if shape == "pieces" else 1
        width = -(-len(request) // count)
        steps: list[bytes | float] = []
        for start in range(0, len(request), width):
            steps += [request[start : start + width], 0.01]
        yield Case(f"{shape} of {size // KIB} KiB", tuple(steps))


def host_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """HTTP/1.1 without a Host, with two, and with an empty one."""
    for host in endless(HOSTS, rng):
        lines = f"GET {TARGET} HTTP/1.1\r\n{host}Authorization: Bearer {material.key}\r\n\r\n"
        yield Case(repr(host), (lines.encode(),))


def smuggling_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """Requests that a proxy and the service could take for one or for two."""
    for headers, body in endless(SMUGGLING, rng):
        method = rng.choice(("POST", "GET"))
        target = "/v1/embed" if method == "POST" else TARGET
        start = f"{method} {target} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {material.key}\r\n"
        if method == "POST":
            start += "Content-Type: multipart/form-data; boundary=x\r\n"
        yield Case(f"{method} {headers!r}", (f"{start}{headers}\r\n\r\n{body}".encode("latin-1"),))


def pipeline_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """Many requests at once, whole or cut anywhere: all are answered."""
    for count in endless((2, 16, 64), rng):
        requests = b"".join(
            head("GET", rng.choice((TARGET, "/v1/subjects", "/healthz", "/readyz")), material.authorization)
            for _ in range(count)
        )
        cut = rng.randrange(len(requests))
        yield Case(f"{count} requests, cut at {cut}", (requests[:cut], 0.02, requests[cut:]), answers=count)
