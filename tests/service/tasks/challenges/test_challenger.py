"""Which challenge is answered by what, and what is refused before one is used up; no picture of a head is needed."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests

from matchka.client import Client
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
