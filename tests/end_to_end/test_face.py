"""Real photographs over real HTTP: enrol, verify, identify, which face, and bad pictures."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from matchka.errors import RequestFailedError
from tests.factories.pictures import encoded
from tests.factories.server_process import RunningServer

DIMS = [8, 16, 32, 64, 128]


@pytest.fixture(scope="module")
def obama(face_samples: Path) -> list[Path]:
    return sorted((face_samples / "obama").glob("*.jpg"))


@pytest.fixture(scope="module")
def biden(face_samples: Path) -> Path:
    return face_samples / "biden" / "biden.jpg"


@pytest.fixture(scope="module")
def enrolled(server: RunningServer, obama: list[Path]) -> str:
    answer = server.client().enroll("face:obama", list(obama[:2]), "face")
    assert answer.template_count == 2
    return "face:obama"


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def jpeg(image: Image.Image, **options: Any) -> bytes:
    return encoded(image.convert("RGB"), "JPEG", quality=95, **options)


def side_by_side(left: Image.Image, right: Image.Image, height: int = 400) -> Image.Image:
    pictures = [p.resize((round(p.width * height / p.height), height)) for p in (left, right)]
    both = Image.new("RGB", (sum(p.width for p in pictures), height))
    both.paste(pictures[0], (0, 0))
    both.paste(pictures[1], (pictures[0].width, 0))
    return both


def test_verify_of_same_and_other_person_decides_rightly(
    server: RunningServer, enrolled: str, obama: list[Path], biden: Path
) -> None:
    own = server.client().verify(enrolled, obama[2], "face")
    other = server.client().verify(enrolled, biden, "face")
    assert own.match
    assert not other.match
    assert own.similarity > other.similarity


@pytest.mark.parametrize("dim", DIMS)
def test_verify_at_each_dim_equals_recomputation_from_embeddings(
    server: RunningServer, enrolled: str, obama: list[Path], dim: int
) -> None:
    client = server.client()
    # enrolment looks for a single face and the rest for the dominant one; these pictures show one each
    vectors = np.array(client.embed(list(obama), "face").embeddings)
    reference, probe = np.mean(vectors[:2], axis=0)[:dim], vectors[2][:dim]
    expected = reference @ probe / np.linalg.norm(reference) / np.linalg.norm(probe)
    assert client.verify(enrolled, obama[2], "face", dim=dim).similarity == pytest.approx(expected, abs=1e-5)


def test_identify_names_the_enrolled_and_not_the_impostor(
    server: RunningServer, enrolled: str, obama: list[Path], biden: Path
) -> None:
    client = server.client()
    assert client.identify(obama[2], "face").match == enrolled
    assert client.identify(biden, "face").match is None


def test_answers_say_where_the_face_is(server: RunningServer, obama: list[Path]) -> None:
    picture = opened(obama[0])
    (face,) = server.client().embed([obama[0]], "face").faces or [None]
    assert face is not None
    left, top, right, bottom = face.box
    assert 0 < right - left < picture.width
    for x, y in face.landmarks:
        assert left < x < right
        assert top < y < bottom
    eye, other_eye = face.landmarks[:2]
    assert face.quality.eye_distance_px == pytest.approx(
        np.hypot(eye[0] - other_eye[0], eye[1] - other_eye[1]), abs=0.1
    )
    assert face.confidence > 0.9


def test_identify_of_all_faces_names_each(server: RunningServer, enrolled: str, obama: list[Path], biden: Path) -> None:
    both = side_by_side(opened(obama[2]), opened(biden))
    answer = server.client().identify(jpeg(both), "face", face="all")
    assert answer.faces is not None
    found = sorted(answer.faces, key=lambda one: one.face.box[0] if one.face else 0.0)
    assert [one.match for one in found] == [enrolled, None]


def test_enroll_of_two_faces_is_refused_unless_the_dominant_one_is_asked_for(
    server: RunningServer, obama: list[Path], biden: Path
) -> None:
    both = jpeg(side_by_side(opened(obama[2]), opened(biden)))
    with pytest.raises(RequestFailedError) as refused:
        server.client().enroll("face:two", [both], "face")
    assert (refused.value.status, refused.value.code) == (422, "several_faces")
    server.client().enroll("face:two", [both], "face", face="dominant")
    server.client().delete_subject("face:two")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_embed_of_a_turned_picture_with_exif_orientation_equals_the_upright_one(
    server: RunningServer, obama: list[Path], orientation: int
) -> None:
    upright = np.asarray(opened(obama[0]).convert("RGB"))
    # what a camera stores so that this orientation shows the picture upright (Exif 2.32, table 4.6.4)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = jpeg(Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    plain = jpeg(Image.fromarray(upright))
    a, b = np.array(server.client().embed([plain, turned], "face").embeddings)
    assert a @ b > 0.999


KINDS: dict[str, Callable[[Image.Image], bytes]] = {
    "png": lambda p: encoded(p, "PNG"),
    "webp": lambda p: encoded(p, "WEBP", quality=95),
    "bmp": lambda p: encoded(p, "BMP"),
    "rgba": lambda p: encoded(p.convert("RGBA"), "PNG"),
    "cmyk": lambda p: encoded(p.convert("CMYK"), "JPEG", quality=95),
    "palette": lambda p: encoded(p.quantize(256), "PNG"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_embed_of_the_same_picture_in_other_containers_stays_close(
    server: RunningServer, obama: list[Path], kind: str
) -> None:
    picture = opened(obama[0]).convert("RGB")
    a, b = np.array(server.client().embed([jpeg(picture), KINDS[kind](picture)], "face").embeddings)
    assert a @ b > 0.99


def test_embed_of_16_bit_grey_equals_8_bit_grey(server: RunningServer, obama: list[Path]) -> None:
    grey = np.asarray(opened(obama[0]).convert("L"))
    wide = Image.fromarray(grey.astype(np.uint16) * 256)
    a, b = np.array(
        server.client().embed([encoded(Image.fromarray(grey), "PNG"), encoded(wide, "PNG")], "face").embeddings
    )
    assert a @ b > 0.9999


def test_embed_of_a_tight_portrait_and_of_a_chip_works(server: RunningServer, obama: list[Path]) -> None:
    client = server.client()
    picture = opened(obama[0]).convert("RGB")
    (face,) = client.embed([obama[0]], "face").faces or [None]
    assert face is not None
    left, top, right, bottom = face.box
    tight = picture.crop((round(left), round(top), round(right), round(bottom)))
    whole, cut = np.array(client.embed([jpeg(picture), jpeg(tight)], "face").embeddings)
    assert whole @ cut > 0.95
    answer = client.embed([jpeg(tight)], "face", face="aligned")
    assert answer.faces == [None]
    assert np.linalg.norm(answer.embeddings[0]) == pytest.approx(1.0, abs=1e-5)


def png_of_huge_size(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100_000), 9)) + chunk(b"IEND", b"")


def noisy(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8))


def with_more_passes(picture: bytes, count: int) -> bytes:
    whole = jpeg(Image.open(io.BytesIO(picture)), progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * count + whole[-2:]


def with_icc(picture: bytes) -> bytes:
    return jpeg(Image.open(io.BytesIO(picture)), icc_profile=random.Random(1).randbytes(60_000))


def with_broken_exif(picture: bytes) -> bytes:
    return jpeg(Image.open(io.BytesIO(picture)), exif=b"Exif\0\0II*\0" + b"\xff" * 4000)


BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "text": (lambda _: b"no picture", "not_image"),
    "svg": (lambda _: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not_image"),
    "gif": (
        lambda _: encoded(noisy(64, 64).quantize(), "GIF", save_all=True, append_images=[noisy(64, 64)]),
        "not_image",
    ),
    "empty": (lambda _: b"", "empty_file"),
    "truncated": (lambda good: good[: len(good) // 2], "truncated_file"),
    "nearly whole": (lambda good: good[:-200], "truncated_file"),
    "truncated png": (lambda _: encoded(noisy(200, 200), "PNG")[:50_000], "truncated_file"),
    "one pixel": (lambda _: encoded(noisy(1, 1), "PNG"), "no_face"),
    "noise": (lambda _: encoded(noisy(320, 240), "PNG"), "no_face"),
    "30000 x 30000": (lambda _: png_of_huge_size(30_000, 30_000), "image_too_large"),
    "6000 x 6000": (lambda _: png_of_huge_size(6_000, 6_000), "image_too_large"),
    "2000000 x 1": (lambda _: png_of_huge_size(2_000_000, 1), "image_too_thin"),
    "24000 x 1000": (lambda _: png_of_huge_size(24_000, 1_000), "image_too_thin"),
    "15 x 15": (lambda _: encoded(noisy(15, 15), "PNG"), "no_face"),
    "100 passes": (lambda good: with_more_passes(good, 100), "image_too_complex"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("call", ["embed", "enroll", "identify"])
def test_bad_picture_is_refused_with_its_code_and_stores_nothing(
    server: RunningServer, obama: list[Path], name: str, call: str
) -> None:
    make, code = BAD[name]
    data = {"model": "face", **({"subject_id": "face:bad"} if call == "enroll" else {})}
    answer = requests.post(
        f"{server.url}/v1/{call}", data=data, files={"file": ("p", make(obama[0].read_bytes()))}, timeout=60
    )
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert "face:bad" not in {s.subject_id for s in server.client().subjects(limit=1000).subjects}


NOBODY: dict[str, Callable[[], Image.Image]] = {
    "grey": lambda: Image.new("RGB", (150, 150), (128,) * 3),
    "one pixel": lambda: noisy(1, 1),
    "noise": lambda: noisy(150, 150),
    "enlarged": lambda: noisy(4, 4).resize((150, 150), Image.Resampling.BICUBIC),
}


@pytest.mark.parametrize("name", NOBODY)
def test_aligned_picture_of_nobody_is_refused_at_each_call_and_stores_nothing(
    server: RunningServer, enrolled: str, name: str
) -> None:
    client, picture = server.client(), encoded(NOBODY[name](), "PNG")
    calls: list[Callable[[], object]] = [
        lambda: client.enroll("face:nobody", [picture], "face", face="aligned"),
        lambda: client.embed([picture], "face", face="aligned"),
        lambda: client.verify(enrolled, picture, "face", face="aligned"),
        lambda: client.identify(picture, "face", face="aligned"),
    ]
    for call in calls:
        with pytest.raises(RequestFailedError) as refused:
            call()
        assert (refused.value.status, refused.value.code) == (422, "no_face")
    assert "face:nobody" not in {s.subject_id for s in client.subjects(limit=1000).subjects}


@pytest.mark.parametrize("spoil", [with_icc, with_broken_exif])
def test_hostile_metadata_changes_nothing(
    server: RunningServer, obama: list[Path], spoil: Callable[[bytes], bytes]
) -> None:
    clean = jpeg(opened(obama[0]))
    a, b = np.array(server.client().embed([clean, spoil(clean)], "face").embeddings)
    assert a @ b > 0.999


def test_picture_for_the_voice_model_and_clip_for_the_face_model_are_refused(
    server: RunningServer, obama: list[Path], voice_samples: Path
) -> None:
    for sample, model, code in (
        (obama[0], "voice", "not_audio"),
        (voice_samples / "cards" / "001.wav", "face", "not_image"),
    ):
        with pytest.raises(RequestFailedError) as refused:
            server.client().embed([sample], model)
        assert (refused.value.status, refused.value.code) == (422, code)


def test_face_choice_for_a_voice_is_refused(server: RunningServer, voice_samples: Path) -> None:
    with pytest.raises(RequestFailedError) as refused:
        server.client().embed([voice_samples / "cards" / "001.wav"], "voice", face="only")
    assert (refused.value.status, refused.value.code) == (422, "invalid_field")


def test_picture_of_more_faces_than_allowed_is_refused_when_all_are_asked_for(
    server: RunningServer, obama: list[Path]
) -> None:
    client = server.client()
    (face,) = client.embed([obama[0]], "face").faces or [None]
    assert face is not None
    left, top, right, bottom = face.box
    margin = 0.3 * (right - left)
    head = (
        opened(obama[0])
        .convert("RGB")
        .crop((round(left - margin), round(top - margin), round(right + margin), round(bottom + margin)))
    )
    tile = head.resize((80, 100))
    crowd = Image.new("RGB", (80 * 10, 100 * 8))
    for n in range(80):
        crowd.paste(tile, (80 * (n % 10), 100 * (n // 10)))
    with pytest.raises(RequestFailedError) as refused:
        client.identify(jpeg(crowd), "face", face="all")
    assert (refused.value.status, refused.value.code) == (422, "too_many_faces")


def test_subject_with_voice_and_face_is_deleted_with_both(
    server: RunningServer, obama: list[Path], voice_samples: Path
) -> None:
    client = server.client()
    clip = voice_samples / "forever" / "input_4_16k.wav"
    client.enroll("both", [clip], "voice")
    client.enroll("both", [obama[1]], "face")
    assert {t.model for t in client.subject("both").templates} == {"voice", "face"}
    client.delete_subject("both")
    assert "both" not in {c.subject_id for c in client.identify(clip, "voice", top_k=100).candidates}
    assert "both" not in {c.subject_id for c in client.identify(obama[1], "face", top_k=100).candidates}
