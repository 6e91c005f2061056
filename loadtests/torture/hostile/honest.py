"""Honest callers with a key, beside every attack: they verify a voice and a face, and have to be served."""

import asyncio
from pathlib import Path

from loadtests.client.caller import Caller
from loadtests.client.load import Call, Connections, Outcome
from loadtests.torture.hostile.wire import FACE_SUBJECT, VOICE_SUBJECT, Material, form

PAUSE_S = 0.1
VOICE = ("librivox/0870.wav", "librivox/0880.wav")  # enrolled, and asked about
FACE = ("obama/obama.jpg", "obama/obama2.jpg")


def read_material(samples: Path, key: str) -> Material:
    """What `matchka-export samples` fetched.

    Raises: FileNotFoundError: it did not.
    """
    return Material(key, (samples / "voice" / VOICE[0]).read_bytes(), (samples / "face" / FACE[0]).read_bytes())


def enrol_honest(port: int, material: Material) -> None:
    """Enrol the two whom the honest ask about, where they are not enrolled yet."""
    caller = Caller(port, material.key)
    for model, subject_id, sample in (
        ("voice", VOICE_SUBJECT, material.voice),
        ("face", FACE_SUBJECT, material.picture),
    ):
        if caller.get(f"subjects/{subject_id}").status == 404:
            answer = caller.post("enroll", [sample], model=model, subject_id=subject_id)
            if answer.status != 201:
                raise RuntimeError(f"enroll answered {answer}")
    caller.close()


def honest_requests(samples: Path, material: Material) -> list[Call]:
    """Verifications of other samples of the two."""
    return [
        Call(
            form(
                "/v1/verify",
                {"model": model, "subject_id": subject_id, "file": (samples / model / name).read_bytes()},
                material.authorization,
            )
        )
        for model, subject_id, name in (("voice", VOICE_SUBJECT, VOICE[1]), ("face", FACE_SUBJECT, FACE[1]))
    ]


class HonestCallers:
    """Two callers that ask one after the other until they are cancelled; `outcome` is what became of it.

    Args:
        port: of the server.
        requests: what they ask.
    """

    def __init__(self, port: int, requests: list[Call]) -> None:
        self._connections = Connections(port)
        self._requests = requests
        self.outcome = Outcome()

    def new_outcome(self) -> Outcome:
        """Count anew; requests under way are counted there."""
        self.outcome = Outcome()
        return self.outcome

    async def run(self) -> None:
        """Ask until cancelled."""
        try:
            await asyncio.gather(*(self._ask(request) for request in self._requests))
        finally:
            self._connections.close()

    async def _ask(self, request: Call) -> None:
        while True:
            attempt = await self._connections.attempt(request)
            self.outcome.attempts.append(attempt)
            await asyncio.sleep(PAUSE_S)
