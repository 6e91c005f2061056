"""A mix of calls against a running service: 10 % enrol, 50 % verify, 25 % identify, 15 % embed.

A share of FACE_SHARE (0.3 by default) sends a picture, the others a clip of 1 to 21 s; LOAD_SAMPLES names the folder
of samples, by default what `matchka-export samples` fetched.
"""

import itertools
import os
import random
import uuid
from pathlib import Path

import gevent
from locust import FastHttpUser, constant, events, task
from locust.env import Environment
from payloads import Payload, form, read_samples

SAMPLES = Path(os.environ.get("LOAD_SAMPLES", "build/samples"))
FACE_SHARE = float(os.environ.get("FACE_SHARE", "0.3"))
PEOPLE = {"voice": read_samples(SAMPLES / "voice"), "face": read_samples(SAMPLES / "face")}
RUN = uuid.uuid4().hex[:8]  # several processes, or a second run, enrol under names of their own
ENROLMENTS = {model: itertools.count() for model in PEOPLE}
SUBJECTS_KEPT = 500  # enrolments beyond this go to the first subjects again, so that the gallery stays bounded
ALREADY_ENROLLED = 409  # by the caller who came first


def any_model() -> str:
    """The model of the next call."""
    return "face" if random.random() < FACE_SHARE else "voice"


def fresh_enrolment(model: str) -> tuple[str, bytes]:
    """A subject and a sample that it was never sent before: the service refuses duplicates."""
    samples = [sample for person in sorted(PEOPLE[model]) for sample in PEOPLE[model][person]]
    turn, subject = divmod(next(ENROLMENTS[model]), SUBJECTS_KEPT)
    generation, number = divmod(turn, len(samples))
    return f"load:{RUN}:{generation}:{subject}", samples[(number + subject) % len(samples)]


class Caller(FastHttpUser):
    """Someone who calls without a pause."""

    wait_time = constant(0)
    connection_timeout = 30.0
    network_timeout = 60.0

    def on_start(self) -> None:
        """Enrol everybody, so that verify finds them."""
        self.verify_payloads: dict[str, list[Payload]] = {}
        self.search_payloads: dict[str, list[Payload]] = {}
        for model, people in PEOPLE.items():
            for person, samples in people.items():
                first = form(samples[0], model=model, subject_id=f"load:{person}")
                self._send("enroll", first, (201, ALREADY_ENROLLED), "set-up")
            self.verify_payloads[model] = [
                form(sample, model=model, subject_id=f"load:{person}") for person in people for sample in people[person]
            ]
            self.search_payloads[model] = [form(sample, model=model) for person in people for sample in people[person]]

    @task(10)
    def enroll(self) -> None:
        """Enrol one sample under a fresh name."""
        model = any_model()
        subject, sample = fresh_enrolment(model)
        fields = {"model": model, "subject_id": subject, "force": "true"}  # a subject gets the samples of anybody
        self._send("enroll", form(sample, **fields), (201,), f"enroll {model}")

    @task(50)
    def verify(self) -> None:
        """Verify a sample against its own person."""
        model = any_model()
        self._send("verify", random.choice(self.verify_payloads[model]), (200,), f"verify {model}")

    @task(25)
    def identify(self) -> None:
        """Search a sample in the gallery."""
        model = any_model()
        self._send("identify", random.choice(self.search_payloads[model]), (200,), f"identify {model}")

    @task(15)
    def embed(self) -> None:
        """Embed a sample."""
        model = any_model()
        self._send("embed", random.choice(self.search_payloads[model]), (200,), f"embed {model}")

    def _send(self, call: str, payload: Payload, expected: tuple[int, ...], name: str) -> None:
        with self.client.post(
            f"/v1/{call}", data=payload.body, headers=payload.headers, name=name, catch_response=True
        ) as answer:
            if answer.status_code not in expected:
                answer.failure(f"{answer.status_code}: {(answer.text or '')[:200]}")


@events.init.add_listener
def forget_the_set_up(environment: Environment, **_: object) -> None:
    """Start counting when every caller has enrolled its people."""

    def reset() -> None:
        gevent.sleep(5)
        if environment.runner is not None:
            environment.runner.stats.reset_all()

    gevent.spawn(reset)
