"""Clients without a key, or with one and without an end: announced bodies, lingering sockets, uploads that hang."""

import random
from collections.abc import Iterator
from typing import Final

from loadtests.torture.hostile.exchange import Case
from loadtests.torture.hostile.generators.order import endless
from loadtests.torture.hostile.wire import Material, any_source, form, get, head

MIB: Final = 1 << 20
ANNOUNCED: Final = 99_999_999  # bytes, beyond every limit
LINGER_S: Final = 8.0  # longer than the limits of the server in this run
CONTENT_TYPE: Final = "multipart/form-data; boundary=x"
BEGUN: Final = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
BLOCK: Final = bytes(MIB)
TRAILER: Final = b"X: " + b"x" * 2000 + b"\r\n"
CHUNK: Final = b"%x\r\n" % MIB + BLOCK + b"\r\n"


def _upload(headers: dict[str, str], call: str = "embed") -> bytes:
    return head("POST", f"/v1/{call}", {"Content-Type": CONTENT_TYPE} | headers)


def announced_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """Bodies of every announced length, sent on after the refusal, by nobody that has a key."""
    for shape in endless(("nothing", "some", "all", "chunked", "expect", "small"), rng):
        length = rng.choice((ANNOUNCED, 21 * MIB, 1000, 10**15))
        announced = {"Content-Length": str(length)}
        steps: dict[str, tuple[bytes | float, ...]] = {
            "nothing": (_upload(announced),),
            "some": (_upload(announced), BEGUN, 0.2, b"x" * 100),
            "all": (_upload({"Content-Length": str(21 * MIB)}), *[BLOCK] * 21),
            "chunked": (_upload({"Transfer-Encoding": "chunked"}), *[CHUNK] * 24),
            "expect": (_upload(announced | {"Expect": "100-continue"}),),
            "small": (form("/v1/embed", {"model": "voice", "file": material.voice}, {}),),
        }
        yield Case(f"{shape} of {length}", steps[shape], source=any_source(rng))


def lingering_cases(_material: Material, rng: random.Random) -> Iterator[Case]:
    """Sockets of one address that announce 99,999,999 bytes, send none, and stay."""
    for shape in endless(("embed", "enroll", "identify"), rng):
        yield Case(f"lingering in {shape}", (_upload({"Content-Length": str(ANNOUNCED)}, shape), LINGER_S))


def storm_cases(_material: Material, rng: random.Random) -> Iterator[Case]:
    """Keys that are wrong, from the address of the honest ones."""
    for shape in endless(("random", "empty", "long", "basic", "octets", "twice"), rng):
        key = rng.randbytes(24).hex()
        headers: dict[str, dict[str, str]] = {
            "random": {"Authorization": f"Bearer {key}"},
            "empty": {"Authorization": "Bearer "},
            "long": {"Authorization": f"Bearer {key * 500}"},
            "basic": {"Authorization": f"Basic {key}"},
            "octets": {"Authorization": "Bearer \xff\xfe\xed"},
            "twice": {"Authorization": f"Bearer {key}", "authorization": f"Bearer {key}"},
        }
        yield Case(f"{shape} key", (get("/v1/subjects", headers[shape]),))


def slow_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """Heads that come letter by letter, or line by line, or stop."""
    for shape in endless(("letters", "lines", "stops", "silent"), rng):
        request = get("/v1/models", material.authorization)
        pause = rng.uniform(0.1, 0.4)
        drops: dict[str, list[bytes]] = {
            "letters": [request[n : n + 1] for n in range(len(request) - 4)],
            "lines": [request[:-2], *[b"X-Slow: 1\r\n"] * 200],
            "stops": [request[:-2]],
            "silent": [],
        }
        steps: list[bytes | float] = []
        for drop in drops[shape]:
            steps += [drop, pause]
        yield Case(f"{shape}, {pause:.2f} s apart", tuple(steps))


def oversized_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """With a key: announced or counted, the body is over the limit, and is sent on."""
    for shape in endless(("announced", "sent", "chunked", "far"), rng):
        key = material.authorization
        steps: dict[str, tuple[bytes | float, ...]] = {
            "announced": (_upload(key | {"Content-Length": str(rng.randint(21 * MIB, 10**12))}),),
            "sent": (_upload(key | {"Content-Length": str(22 * MIB)}), *[BLOCK] * 22),
            "chunked": (_upload(key | {"Transfer-Encoding": "chunked"}), b"%x\r\n" % len(BEGUN), BEGUN, b"\r\n")
            + (CHUNK,) * 24,
            "far": (_upload(key | {"Content-Length": str(ANNOUNCED)}), *[BLOCK] * 90),
        }
        yield Case(shape, steps[shape])


def lying_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """With a key: a body that is longer or shorter than its head says, or a chunk that is."""
    whole = form("/v1/embed", {"model": "voice", "file": material.voice}, material.authorization)
    body = whole.partition(b"\r\n\r\n")[2]
    kind = whole.split(b"Content-Type: ")[1].split(b"\r\n")[0].decode()
    for shape in endless(("short", "long", "chunk long", "chunk short", "no end", "not hex", "trailer"), rng):
        off = rng.randint(8, 1000)  # the closing boundary is cut as well
        announced = {"Content-Length": str(len(body) + (off if shape == "long" else -off))}
        headers = {"Content-Type": kind} | (
            announced if shape in ("short", "long") else {"Transfer-Encoding": "chunked"}
        )
        size = {"chunk long": len(body) - off, "chunk short": len(body) + off}.get(shape, len(body))
        chunk = b"%x\r\n" % size + body + b"\r\n"
        sent = {
            "short": body,
            "long": body,
            "chunk long": chunk + b"0\r\n\r\n",
            "chunk short": chunk + b"0\r\n\r\n",
            "no end": b"%x\r\n" % (len(body) - off) + body[:-off] + b"\r\n",
            "not hex": b"xyz\r\n" + body,
            "trailer": b"0\r\n" + TRAILER * rng.choice((50, 2000, 4000)) + b"\r\n",
        }
        yield Case(f"{shape} by {off}", (head("POST", "/v1/embed", material.authorization | headers), sent[shape]))


def hanging_cases(material: Material, rng: random.Random) -> Iterator[Case]:
    """With a key: a few bytes of an announced body, and then nothing, or a byte now and then."""
    for shape in endless(("stops", "drips"), rng):
        length = rng.choice((100_000, 16 * MIB))
        drips: list[bytes | float] = [b"x", 0.5] * (40 if shape == "drips" else 0)
        start = _upload(material.authorization | {"Content-Length": str(length)})
        begun = BEGUN[: rng.randint(0, len(BEGUN))] if shape == "stops" else BEGUN
        yield Case(f"{shape} of {length}", (start, begun, *drips))
