"""A mix of calls against a running service: 10 % enrol, 50 % verify, 25 % identify, 15 % embed.

LOAD_SAMPLES names the folder of recordings; by default what `matchka-export samples` fetched.
"""

import itertools
import os
import random
from pathlib import Path

import gevent
from locust import FastHttpUser, constant, events, task
from locust.env import Environment
from payloads import Payload, form, read_clips

SAMPLES = Path(os.environ.get("LOAD_SAMPLES", "build/samples/voice"))
CLIPS = read_clips(SAMPLES)
PEOPLE = sorted(CLIPS)
FRESH_IDS = itertools.count()
SUBJECTS_KEPT = 500  # enrolments beyond this start again from the first id, so that the gallery stays bounded


def any_clip() -> bytes:
    """A clip of anybody."""
    return random.choice(CLIPS[random.choice(PEOPLE)])


class Caller(FastHttpUser):
    """Someone who calls without a pause."""

    wait_time = constant(0)
    connection_timeout = 30.0
    network_timeout = 60.0

    def on_start(self) -> None:
        """Enrol everybody, so that verify finds them."""
        for person in PEOPLE:
            self._send("enroll", form(CLIPS[person][0], model="voice", subject_id=f"load:{person}"), 201, "set-up")
        self.verify_payloads = [
            form(clip, model="voice", subject_id=f"load:{person}") for person in PEOPLE for clip in CLIPS[person]
        ]
        self.search_payloads = [form(clip, model="voice") for person in PEOPLE for clip in CLIPS[person]]

    @task(10)
    def enroll(self) -> None:
        """Enrol one clip under a fresh name."""
        subject = f"load:fresh:{next(FRESH_IDS) % SUBJECTS_KEPT}"
        self._send("enroll", form(any_clip(), model="voice", subject_id=subject), 201)

    @task(50)
    def verify(self) -> None:
        """Verify a clip against its own person."""
        self._send("verify", random.choice(self.verify_payloads), 200)

    @task(25)
    def identify(self) -> None:
        """Search a clip in the gallery."""
        self._send("identify", random.choice(self.search_payloads), 200)

    @task(15)
    def embed(self) -> None:
        """Embed a clip."""
        self._send("embed", random.choice(self.search_payloads), 200)

    def _send(self, call: str, payload: Payload, expected: int, name: str | None = None) -> None:
        with self.client.post(
            f"/v1/{call}", data=payload.body, headers=payload.headers, name=name or call, catch_response=True
        ) as answer:
            if answer.status_code != expected:
                answer.failure(f"{answer.status_code}: {(answer.text or '')[:200]}")


@events.init.add_listener
def forget_the_set_up(environment: Environment, **_: object) -> None:
    """Start counting when every caller has enrolled its people."""

    def reset() -> None:
        gevent.sleep(5)
        if environment.runner is not None:
            environment.runner.stats.reset_all()

    gevent.spawn(reset)
