"""Which challenge is answered by what, and what is refused before one is used up; no picture of a head is needed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from matchka.client import Client
from matchka.errors import RequestFailedError
from tests.factories.bundles import write_bundle
from tests.factories.picture_bundle import write_picture_bundle
from tests.factories.samples import sample
from tests.factories.small_server import SmallServer, serving, small_settings

BURST = (b"first", b"second", b"third")  # no pictures: only after the challenge was used up does anybody look


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    folder = tmp_path_factory.mktemp("challenges")
    write_bundle(folder / "models" / "voice")
    write_picture_bundle(folder / "models" / "face", "face")
    settings = small_settings(folder, head_turn=True, open_challenges=1000, challenges_per_hour=1000)
    with serving(settings) as running, running.client() as client:
        client.enroll("ada", [sample(1)])
        yield running


@pytest.fixture(scope="module")
def client(server: SmallServer) -> Iterator[Client]:
    with server.client() as opened:
        yield opened


def verified(
    server: SmallServer, challenge_id: str, files: tuple[bytes, ...] = BURST, model: str = "face", **fields: str
) -> Mapping[str, Any]:
    """The answer to files that are sent to redeem a challenge of ada."""
    form = {"model": model, "subject_id": "ada", "challenge_id": challenge_id, **fields}
    named = [("file", ("sample", file)) for file in files]
    body: dict[str, Any] = requests.post(f"{server.url}/v1/verify", data=form, files=named, timeout=20).json()
    return body


def require_usable(server: SmallServer, challenge_id: str) -> None:
    """It is used up now, and was not before."""
    assert verified(server, challenge_id)["code"] == "not_image"
    assert verified(server, challenge_id)["code"] == "challenge_not_redeemable"


@pytest.mark.parametrize("choice", ["aligned", "dominant", "only"])
def test_verify_of_a_burst_that_is_to_be_read_in_another_way_is_refused_and_leaves_the_challenge_usable(
    server: SmallServer, client: Client, choice: str
):
    given = client.head_turn("ada")
    answer = verified(server, given.challenge_id, face=choice)
    assert (answer["status"], answer["code"], answer["value"]) == (422, "invalid_field", f"face={choice}")
    require_usable(server, given.challenge_id)


@pytest.mark.parametrize(
    ("files", "model", "code", "value"),
    [
        (BURST[:2], "face", "invalid_field", "2"),
        (tuple(b"%d" % number for number in range(9)), "face", "invalid_field", "9"),
        (BURST, "voice", "invalid_field", "voice"),
        ((*BURST, BURST[0]), "face", "duplicate_sample", None),
    ],
)
def test_verify_of_files_that_are_no_burst_of_pictures_is_refused_and_leaves_the_challenge_usable(
    server: SmallServer, client: Client, files: tuple[bytes, ...], model: str, code: str, value: str | None
):
    given = client.head_turn("ada")
    answer = verified(server, given.challenge_id, files, model)
    assert (answer["code"], answer.get("value")) == (code, value)
    require_usable(server, given.challenge_id)


def test_verify_of_one_picture_says_which_files_the_offered_challenges_take(server: SmallServer, client: Client):
    given = client.head_turn("ada")
    answer = verified(server, given.challenge_id, BURST[:1])
    assert (answer["status"], answer["code"], answer["value"]) == (422, "invalid_field", "1 for face")
    assert "for head_turn 3 to 8 pictures" in answer["remedy"]
    require_usable(server, given.challenge_id)


def test_head_turn_gives_both_orders_of_the_sides_and_takes_no_words(server: SmallServer, client: Client):
    given = {tuple(client.head_turn("ada").directions) for _ in range(40)}
    assert given == {("centre", "left", "right"), ("centre", "right", "left")}
    form = {"subject_id": "ada", "kind": "head_turn", "words": 6}
    answer = requests.post(f"{server.url}/v1/challenges", json=form, timeout=20).json()
    assert (answer["code"], answer["value"]) == ("invalid_field", "6")


def test_models_name_the_challenges_that_are_given(client: Client):
    assert client.models().challenges == ["head_turn"]  # nobody hears a phrase here


def test_head_turn_where_no_served_model_sees_heads_is_refused(tmp_path: Path):
    write_bundle(tmp_path / "models" / "voice")
    with serving(small_settings(tmp_path, head_turn=True)) as running, running.client() as client:
        client.enroll("ada", [sample(1)])
        with pytest.raises(RequestFailedError) as refused:
            client.head_turn("ada")
        assert client.models().challenges == []
    assert (refused.value.status, refused.value.code) == (422, "output_not_available")
    assert "matchka-export defaults" in refused.value.remedy
