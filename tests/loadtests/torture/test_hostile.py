"""The hostile part of the torture finds what it is there to find, and sends what it says it sends."""

import asyncio
import io
import itertools
import random
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
import soundfile
from PIL import Image

from loadtests.client.load import Attempt, Call
from loadtests.client.load import Outcome as Served
from loadtests.server import HOST
from loadtests.torture.hostile.attacks import ATTACKS, Attack
from loadtests.torture.hostile.documented import (
    CLOSED,
    DOCUMENTED,
    FLOODS,
    FOREIGN_ORIGIN_ALLOWED,
    OK,
    PICTURES,
    UNANSWERED,
    is_documented,
    memory_bound_mib,
)
from loadtests.torture.hostile.exchange import Case, Exchanged, exchange, parse_answers
from loadtests.torture.hostile.generators.people import SOUNDS, sound_cases
from loadtests.torture.hostile.generators.pictures import png, thin_cases
from loadtests.torture.hostile.report import Row, Storm, thin_time_broken
from loadtests.torture.hostile.wire import Material, form

MATERIAL = Material("k" * 32, b"RIFF" + bytes(4000), b"\xff\xd8" + bytes(4000))
PROBLEM = b'{"code": "silence"}'
REFUSED = (
    b"HTTP/1.1 422 Unprocessable\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n" % len(PROBLEM)
    + PROBLEM
)
SERVED = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
READABLE = b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\ncontent-length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_parse_of_several_answers_cut_anywhere_gives_those_that_are_complete():
    answers = [SERVED, REFUSED, CONTINUE + EMPTY, READABLE]
    outcomes = [OK, (422, "silence"), (204, ""), (200, FOREIGN_ORIGIN_ALLOWED)]
    ends = list(itertools.accumulate(len(answer) for answer in answers))
    whole = b"".join(answers)
    for cut in range(len(whole) + 1):
        complete = sum(end <= cut for end in ends)
        assert parse_answers(whole[:cut], is_whole=False)[0] == outcomes[:complete]


def test_parse_of_an_answer_without_length_ends_with_the_connection():
    answer = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\nInvalid"
    assert parse_answers(answer, is_whole=False)[0] == []
    assert parse_answers(answer, is_whole=True)[0] == [(400, "")]


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def exchanged_with(handler: Handler, case: Case, bound_s: float = 20.0) -> Exchanged:
    """What an exchange with a real socket gives, behind which is this handler."""

    async def run() -> Exchanged:
        handled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await handler(reader, writer)
            await writer.wait_closed()
            handled.set_result(None)

        server = await asyncio.start_server(handle, HOST, 0)
        async with server:
            exchanged = await exchange(server.sockets[0].getsockname()[1], case, bound_s)
            await handled
        return exchanged

    return asyncio.run(run())


async def answer_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(SERVED + REFUSED)
    await reader.read()
    writer.close()


async def end_at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def refuse_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer after the first bytes, and end the connection while more are sent."""
    await reader.read(10)
    writer.write(REFUSED)
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.close()


def test_exchange_with_a_server_that_answers_twice_sees_both():
    assert exchanged_with(answer_twice, Case("one", (b"GET / HTTP/1.1\r\n\r\n",))).outcomes == (OK, (422, "silence"))


def test_exchange_with_a_server_that_ends_the_connection_is_closed():
    assert exchanged_with(end_at_once, Case("one", (b"GET",))).outcomes == (CLOSED,)


def test_exchange_with_a_server_that_says_nothing_is_unanswered():
    assert exchanged_with(say_nothing, Case("one", (b"GET",)), bound_s=0.3).outcomes == (UNANSWERED,)


def test_exchange_whose_body_is_refused_while_it_is_sent_sees_the_refusal():
    steps = (b"POST / HTTP/1.1\r\n\r\n", *[bytes(1 << 20)] * 64)
    assert exchanged_with(refuse_early, Case("one", steps)).outcomes == ((422, "silence"),)


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "stays"), [(SERVED, True), (SERVED.replace(b"200 OK", b"503 Full"), False)])
def test_exchange_stays_as_long_as_its_steps_say_unless_there_is_no_room(answer: bytes, stays: bool):
    seen: list[float] = []

    async def time_it(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        began = asyncio.get_running_loop().time()
        await reader.read()
        seen.append(asyncio.get_running_loop().time() - began)
        writer.close()

    exchanged_with(time_it, Case("lingering", (b"GET / HTTP/1.1\r\n\r\n", 5.0)))
    assert (seen[0] > 4.0) == stays


def test_every_attack_has_its_documented_answers_and_every_bound_its_attack():
    names = [attack.name for attack in ATTACKS]
    assert Counter(names) == Counter(DOCUMENTED.keys())
    assert set(names) >= FLOODS | PICTURES


@pytest.mark.parametrize(
    ("attack", "outcome", "expected"),
    [
        ("thin pictures", (422, "image_too_large"), True),
        ("thin pictures", (422, ""), False),
        ("thin pictures", (500, "internal_error"), False),
        ("foreign Origin, with a key", OK, True),
        ("foreign Origin, with a key", (200, FOREIGN_ORIGIN_ALLOWED), False),
        ("foreign Origin, with a key", (403, FOREIGN_ORIGIN_ALLOWED), False),
        ("exact duplicates", (409, "other_version"), False),
        ("slow heads", CLOSED, True),
        ("slow heads", UNANSWERED, False),
    ],
)
def test_only_what_is_documented_is_as_documented(attack: str, outcome: tuple[int, str], expected: bool):
    assert is_documented(attack, outcome) == expected


def row_of(attack: str, *outcomes: tuple[int, str], honest: tuple[int, ...] = (200,), retry_after: bool = True) -> Row:
    row = Row(attack)
    for number, outcome in enumerate(outcomes):
        row.note(Case(f"shape {number}", ()), Exchanged((outcome,), 0.1))
    served = Served()
    for status in honest:
        served.attempts.append(Attempt(Call(b""), 0.0, 0.0, 0.1, status, names_retry=retry_after))
    row.note_honest(served)
    return row


def test_row_that_keeps_its_promises_breaks_none():
    row = row_of("thin pictures", (422, "no_face"), (422, "image_too_large"))
    row.note_memory(300.0, 555.0, Case("one", ()))
    assert row.broken() == []
    assert row_of("hanging uploads", (408, "upload_timeout"), honest=(200, 503)).broken() == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (row_of("exact duplicates", (409, "duplicate_sample"), (201, "")), "shape 1: 201"),
        (row_of("charset of the form", (500, "internal_error")), "shape 0: 500 internal_error"),
        (row_of("charset of the form", UNANSWERED), "0 unanswered"),
        (row_of("charset of the form"), "0 of 0"),
        (row_of("charset of the form", OK, honest=(200, 503)), "honest requests"),
        (row_of("charset of the form", OK, honest=(0,)), "honest requests"),
        (row_of("hanging uploads", (408, "upload_timeout"), honest=(200, 500)), "honest requests"),
        (row_of("hanging uploads", (408, "upload_timeout"), honest=(503,), retry_after=False), "1 refusals without"),
    ],
)
def test_row_that_breaks_a_promise_says_which(row: Row, said: str):
    (broken,) = row.broken()
    assert said in broken


def test_row_of_pictures_that_grows_too_much_is_broken_and_another_is_not():
    row, other = row_of("thin pictures", (422, "no_face")), row_of("hanging uploads", (408, "upload_timeout"))
    for one in (row, other):
        for before_mib, peak_mib, name in ((300.0, 310.0, "first"), (300.0, 557.0, "second"), (600.0, 857.0, "third")):
            one.note_memory(before_mib, peak_mib, Case(name, ()))
    assert row.broken() == ["thin pictures: grew by 257 MiB of 256, seen after second"]
    assert other.broken() == []
    assert (row.peak_mib, row.growth_mib) == (857.0, 257.0)


def test_row_whose_server_holds_more_than_is_promised_is_broken():
    row = row_of("hanging uploads", (408, "upload_timeout"))
    bound_mib = memory_bound_mib()
    row.note_memory(bound_mib - 100, bound_mib, Case("one", ()))
    assert row.broken() == []
    row.note_memory(bound_mib - 100, bound_mib + 1, Case("two", ()))
    assert row.broken() == [f"hanging uploads: {bound_mib + 1:.0f} MiB resident of {bound_mib:g}"]


def test_one_wrong_answer_of_several_decides_and_the_column_is_that_of_the_answer():
    row = Row("request smuggling")
    row.note(Case("smuggled", ()), Exchanged(((400, ""), OK), 0.1))
    row.note(Case("refused", ()), Exchanged(((400, ""),), 0.1))
    assert row.tried == {"accepted": 1, "as documented": 1}


def test_storm_that_is_neither_slowed_nor_logged_is_broken():
    kept = Storm(per_second=20, fresh_s=0.002, stormed_s=0.2, refused_outright=False, logged_lines=1)
    assert kept.broken() == []
    assert Storm(20, 0.002, 0.002, True, 1).broken() == []
    assert len(Storm(3600, 0.002, 0.003, False, 1).broken()) == 1
    assert len(Storm(3600, 0.002, 0.003, False, 0).broken()) == 2


def test_thin_picture_that_takes_longer_than_an_honest_shape_is_broken():
    rows = [Row(name) for name in ("pictures within the limit", "thin pictures", "giant thin pictures")]
    for row, seconds in zip(rows, (2.0, 5.9, 6.1), strict=True):
        row.note(Case("one", ()), Exchanged(((422, "no_face"),), seconds))
    (broken,) = thin_time_broken(rows)
    assert broken.startswith("giant thin pictures: 6.1 s")


CHEAP = [attack for attack in ATTACKS if attack.name not in PICTURES]


@pytest.mark.slow
@pytest.mark.parametrize("attack", CHEAP, ids=lambda attack: attack.name)
def test_cases_of_one_seed_are_the_same_and_of_another_are_not(attack: Attack):
    def first(seed: int) -> list[Case]:
        return list(itertools.islice(attack.cases(MATERIAL, random.Random(seed)), 200))

    assert first(1) == first(1)
    assert first(1) != first(2)
    assert len({case.name for case in first(1)}) >= 3


def sample_in(case: Case) -> bytes:
    """The file of a form, by the boundary that the form names."""
    request = b"".join(step for step in case.steps if isinstance(step, bytes))
    boundary = b"--" + request.split(b"boundary=")[1].split(b"\r\n")[0]
    part = next(part for part in request.split(boundary) if b'name="file"' in part)
    return part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")


def test_junk_sounds_are_whole_clips_that_can_be_heard_or_are_silent():
    cases = list(itertools.islice(sound_cases(MATERIAL, random.Random(3)), 3 * len(SOUNDS)))
    assert {case.name for case in cases[: len(SOUNDS)]} == set(SOUNDS)
    for case in cases:
        sound, rate_hz = soundfile.read(io.BytesIO(sample_in(case)))
        assert rate_hz == 16_000
        assert sound.size > rate_hz
        assert (np.abs(sound).max() > 0.04) == (case.name not in ("silence", "dither")), case.name


@pytest.mark.parametrize(
    ("bits", "colour", "mode"),
    [(1, 0, "1"), (8, 0, "L"), (16, 0, "I;16"), (8, 2, "RGB"), (8, 3, "P"), (8, 4, "LA"), (16, 6, "RGBA")],
)
def test_png_of_equal_pixels_is_small_and_is_read_as_declared(bits: int, colour: int, mode: str):
    data = png(3001, 17, bits, colour)
    assert len(data) < 2000
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert (image.size, image.mode) == ((3001, 17), mode)


def test_thin_pictures_are_all_read_and_all_thin():
    shapes = [attack.cases for attack in ATTACKS if attack.name == "thin pictures"]
    assert shapes == [thin_cases]
    kinds = Counter()
    for case in itertools.islice(thin_cases(MATERIAL, random.Random(5)), 34):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(sample_in(case))) as image:
                assert max(image.size) > 20 * min(image.size), case.name
                kinds[image.format] += 1
    assert set(kinds) == {"PNG", "JPEG", "WEBP", "BMP"}


def test_form_with_a_field_given_twice_sends_both():
    request = form("/v1/enroll", {"model": "voice", "file": b"one", "file#2": b"two"}, {"X-Own": "1"})
    assert request.count(b'name="file"') == 2
    assert b"\r\nX-Own: 1\r\n" in request
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
