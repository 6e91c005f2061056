"""Turning heads over HTTP with the default models: three photographs of one head stand for a turning one."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from matchka.client import Client
from matchka.client.answers import VerifyAnswer
from matchka.errors import RequestFailedError
from tests.factories.pictures import encoded
from tests.factories.prints import bent_print, turned_print
from tests.factories.small_server import SmallServer, serving, small_settings

# of two people: one that is enrolled, one from the front, one to the person's left, one to the right; turns .65 to 1.0
DON = ("Donald_Rumsfeld", (96, 3, 76, 29))
HUGO = ("Hugo_Chavez", (21, 39, 3, 40))


@dataclass(frozen=True)
class Person:
    """Files of one person."""

    enrolled: bytes
    centre: bytes
    left: bytes
    right: bytes

    def burst(self, directions: list[str]) -> list[bytes]:
        return [getattr(self, direction) for direction in directions]


def person(shared_data: Path, name: str, numbers: tuple[int, ...]) -> Person:
    folder = shared_data / "face" / "train"
    return Person(*((folder / f"{name}_{number:04}.jpg").read_bytes() for number in numbers))


@pytest.fixture(scope="module")
def don(shared_data: Path) -> Person:
    return person(shared_data, *DON)


@pytest.fixture(scope="module")
def hugo(shared_data: Path) -> Person:
    return person(shared_data, *HUGO)


@pytest.fixture(scope="module")
def server(
    models_dir: Path, don: Person, hugo: Person, voice_samples: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SmallServer]:
    settings = small_settings(
        tmp_path_factory.mktemp("turning"),
        models_dir=models_dir,
        head_turn=True,
        open_challenges=1000,
        challenges_per_hour=1000,
        modalities={"face": {"max_yaw": "0.5"}},
    )
    with serving(settings) as running:
        with running.client() as client:
            client.enroll("don", [don.enrolled], "face")
            client.enroll("hugo", [hugo.enrolled], "face")
            client.enroll("don", sorted((voice_samples / "librivox").glob("*.wav"))[:3], "voice")
        yield running


@pytest.fixture(scope="module")
def client(server: SmallServer) -> Iterator[Client]:
    with server.client() as opened:
        yield opened


def opened(file: bytes) -> Image.Image:
    with Image.open(io.BytesIO(file)) as picture:
        return picture.convert("RGB")


def answered(client: Client, subject: str, *pictures: bytes) -> VerifyAnswer:
    """What pictures answer a challenge of centre, left, right: directions are asked for until they are these."""
    while (given := client.head_turn(subject)).directions != ["centre", "left", "right"]:
        pass
    return client.verify_turning(subject, pictures, given.challenge_id)


def code_of(client: Client, subject: str, *pictures: bytes) -> str:
    with pytest.raises(RequestFailedError) as refused:
        answered(client, subject, *pictures)
    return refused.value.code


def test_verify_turning_of_the_right_head_and_path_matches_beyond_the_yaw_that_others_may_have(
    client: Client, don: Person
):
    given = client.head_turn("don")
    answer = client.verify_turning("don", don.burst(given.directions), given.challenge_id)
    assert answer.head_turn is not None
    assert (answer.head_turn.match, answer.head_turn.same_person, answer.match) == (True, True, True)
    assert abs(answer.head_turn.turns[0]) < 0.3
    assert all(abs(turn) >= answer.head_turn.least_turn for turn in answer.head_turn.turns[1:])
    assert answer.phrase is None
    with pytest.raises(RequestFailedError, match="turned by"):
        client.verify("don", don.left, "face")
    with pytest.raises(RequestFailedError) as again:
        client.verify_turning("don", don.burst(given.directions), given.challenge_id)
    assert (again.value.status, again.value.code) == (409, "challenge_not_redeemable")


def test_verify_turning_compares_the_picture_from_the_front_wherever_it_is(client: Client, don: Person):
    answer = answered(client, "don", don.enrolled, don.centre, don.left, don.right)
    assert answer.head_turn is not None
    assert abs(answer.head_turn.turns[1]) < abs(answer.head_turn.turns[0])
    assert (answer.head_turn.match, answer.match) == (True, True)
    assert answer.similarity == pytest.approx(client.verify("don", don.centre, "face").similarity, abs=1e-6)
    assert answer.similarity < 0.99  # the first picture is the one that was enrolled


def test_verify_turning_to_the_other_side_first_matches_the_person_only(client: Client, don: Person):
    answer = answered(client, "don", don.centre, don.right, don.left)
    assert answer.head_turn is not None
    assert answer.similarity >= answer.threshold
    assert (answer.head_turn.same_person, answer.head_turn.match, answer.match) == (True, False, False)


def test_verify_turning_of_somebody_else_matches_the_path_only(client: Client, don: Person):
    answer = answered(client, "hugo", don.centre, don.left, don.right)
    assert answer.head_turn is not None
    assert (answer.head_turn.match, answer.match) == (True, False)


def test_verify_turning_of_a_still_or_of_turned_and_bent_prints_never_matches(client: Client, don: Person):
    still = opened(don.centre)
    stills = [encoded(still, "JPEG", quality=quality) for quality in (95, 90, 85)]
    prints = [
        [encoded(turned_print(still, axis, sign * angle, 1.5), "PNG") for sign in (0, first, -first)]
        for axis in (60, 90, 120)
        for angle in (30, 45)
        for first in (1, -1)
    ]
    bent = [[encoded(bent_print(still, 125, 70, sign * 40), "PNG") for sign in (0, first, -first)] for first in (1, -1)]
    for burst in [stills, *prints, *bent]:
        answer = answered(client, "don", *burst)
        assert answer.head_turn is not None
        assert (answer.head_turn.match, answer.match) == (False, False), answer.head_turn.turns


def test_verify_turning_of_two_people_matches_nobody(client: Client, don: Person, hugo: Person):
    for burst in (
        (don.centre, hugo.left, hugo.right),
        (don.centre, don.left, hugo.right),
        (don.centre, hugo.left, don.right),
        (hugo.centre, don.left, don.right),
    ):
        answer = answered(client, "don", *burst)
        assert answer.head_turn is not None
        assert (answer.head_turn.same_person, answer.head_turn.match, answer.match) == (False, False, False)


def test_verify_turning_with_a_second_face_or_none_is_refused(client: Client, don: Person, hugo: Person):
    both = Image.new("RGB", (500, 250))
    both.paste(opened(don.left), (0, 0))
    both.paste(opened(hugo.enrolled), (250, 0))
    assert code_of(client, "don", don.centre, encoded(both, "PNG"), don.right) == "several_faces"
    assert code_of(client, "don", don.centre, encoded(Image.new("RGB", (200, 200)), "PNG"), don.right) == "no_face"


def test_verify_turning_with_a_face_below_full_size_is_refused(client: Client, don: Person):
    whole = opened(don.left)
    small = whole.resize((whole.width * 3 // 10, whole.height * 3 // 10), Image.Resampling.BICUBIC)
    assert code_of(client, "don", don.centre, encoded(small, "PNG"), don.right) == "small_face"


def test_verify_jointly_with_a_turning_head_compares_the_picture_from_the_front(
    server: SmallServer, client: Client, don: Person, voice_samples: Path
):
    clip = sorted((voice_samples / "librivox").glob("*.wav"))[3].read_bytes()

    def post(pictures: list[bytes], challenge_id: str) -> dict[str, Any]:
        files = [("voice_file", clip)] + [("face_file", picture) for picture in pictures]
        form = {"model": "voice+face", "subject_id": "don", "challenge_id": challenge_id}
        named = [(name, ("sample", file)) for name, file in files]
        body: dict[str, Any] = requests.post(f"{server.url}/v1/verify", data=form, files=named, timeout=60).json()
        return body

    given = client.head_turn("don")
    answer = post(don.burst(given.directions), given.challenge_id)
    assert (answer["match"], answer["head_turn"]["match"]) == (True, True)
    alone = client.verify("don", don.centre, "face")
    assert answer["parts"]["face"]["similarity"] == pytest.approx(alone.similarity, abs=1e-6)
    given = client.head_turn("don")
    answer = post(don.burst(given.directions)[::-1], given.challenge_id)
    assert (answer["match"], answer["head_turn"]["match"]) == (False, False)
