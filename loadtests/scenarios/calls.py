"""The kinds of calls that scenarios are mixed of: one row each, with whom the set-up has to enrol for it."""

import itertools
import json
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final, TypeAlias

from loadtests.payloads import Payload, form
from loadtests.scenarios.material import Enrolment, Material, subject_of

SUBJECTS_KEPT: Final = 500  # enrolments beyond this go to the first subjects again, so that the gallery stays bounded
BREATH_BYTES: Final = (0, 130_000)  # of clips up to 4 s
ANSWER_BYTES: Final = (150_000, 300_000)  # of 5 to 9 s: what may answer a phrase of WORDS words
WORDS: Final = 4
SUBJECTS_ASKED: Final = 50  # a subject may be asked some tens of times an hour
WORD: Final = "warm"  # one that the default bundle knows
JOINT: Final = "load:both"
CHALLENGED: Final = "load:asked"


@dataclass(frozen=True)
class Request:
    """One request of a conversation.

    Attributes:
        name: in the statistics.
        path: of the call.
        payload: its body.
        expected: status of success.
    """

    name: str
    path: str
    payload: Payload
    expected: int = 200


# Yields requests; is sent the body of each answer, or None where it was none of success.
Conversation: TypeAlias = Generator[Request, bytes | None, None]
Converse: TypeAlias = Callable[[], Conversation]


@dataclass(frozen=True)
class CallKind:
    """What a caller does again and again.

    Attributes:
        name: for people.
        models: bundles that it needs.
        prepare: makes bodies once, before the load; what it returns begins a conversation.
        enrolments: of people that it needs.
    """

    name: str
    models: tuple[str, ...]
    prepare: Callable[[Material], Converse]
    enrolments: Callable[[Material], tuple[Enrolment, ...]] = lambda _material: ()


def verify(model: str) -> CallKind:
    """A sample against its own person."""
    name = f"verify {model}"

    def prepare(material: Material) -> Converse:
        people = material.samples(model)
        forms = [form(sample, model=model, subject_id=subject_of(person)) for person, sample in people]
        return _any_of(name, "/v1/verify", forms)

    return CallKind(name, (model,), prepare, lambda material: material.enrolments(model))


def identify(model: str) -> CallKind:
    """A sample of somebody who is enrolled, in the gallery."""
    name = f"identify {model}"
    prepare = _of_samples(name, "/v1/identify", model)
    return CallKind(name, (model,), prepare, lambda material: material.enrolments(model))


def embed(model: str) -> CallKind:
    """A sample of somebody."""
    name = f"embed {model}"
    return CallKind(name, (model,), _of_samples(name, "/v1/embed", model))


def enrol(model: str) -> CallKind:
    """Somebody new; after SUBJECTS_KEPT of them the first ones again, with samples that they were not sent before."""
    name = f"enroll {model}"

    def prepare(material: Material) -> Converse:
        numbers = itertools.count()
        samples = [sample for _, sample in material.samples(model)]

        def converse() -> Conversation:
            turn, subject = divmod(next(numbers), SUBJECTS_KEPT)
            generation, place = divmod(turn, len(samples))
            subject_id = f"load:{material.run}:{generation}:{subject}"
            # a subject gets the samples of anybody
            sent = form(samples[(place + subject) % len(samples)], model=model, subject_id=subject_id, force="true")
            yield Request(name, "/v1/enroll", sent, 201)

        return converse

    return CallKind(name, (model,), prepare)


def verify_jointly() -> CallKind:
    """A voice and a face of one subject."""
    name = "verify voice+face"

    def enrolments(material: Material) -> tuple[Enrolment, ...]:
        return tuple(
            Enrolment(f"{JOINT}:{voice}", model, material.people[model][person])
            for voice, face in material.pairs()
            for model, person in (("voice", voice), ("face", face))
        )

    def prepare(material: Material) -> Converse:
        forms = [
            form({"voice_file": clip, "face_file": picture}, model="voice+face", subject_id=f"{JOINT}:{voice}")
            for voice, face in material.pairs()
            for clip in material.people["voice"][voice]
            for picture in material.people["face"][face]
        ]
        return _any_of(name, "/v1/verify", forms)

    return CallKind(name, ("voice", "face"), prepare, enrolments)


def challenge() -> CallKind:
    """Ask for a phrase, and answer with a clip: it says something else, which costs as much to find out."""
    name = "verify with a challenge"

    def enrolments(material: Material) -> tuple[Enrolment, ...]:
        clips = _clips(material, ANSWER_BYTES)
        return tuple(Enrolment(f"{CHALLENGED}:{n}", "voice", (clips[n % len(clips)],)) for n in range(SUBJECTS_ASKED))

    def prepare(material: Material) -> Converse:
        people = enrolments(material)

        def converse() -> Conversation:
            person = random.choice(people)
            asked = {"subject_id": person.subject_id, "words": WORDS}
            body = Payload(json.dumps(asked).encode(), "application/json")
            given = yield Request("challenge", "/v1/challenges", body, 201)
            if given is not None:
                fields = {"subject_id": person.subject_id, "challenge_id": json.loads(given)["challenge_id"]}
                yield Request(name, "/v1/verify", form(person.samples[0], model="voice", **fields))

        return converse

    return CallKind(name, ("voice", "phonemes"), prepare, enrolments)


def classify_radio() -> CallKind:
    """The modulation of a signal."""

    def prepare(material: Material) -> Converse:
        forms = [form(signal, model="radio", sample_format="npy") for signal in material.signals]
        return _any_of("classify radio", "/v1/classify", forms)

    return CallKind("classify radio", ("radio",), prepare)


def transcribe() -> CallKind:
    """The phones of a clip."""

    def prepare(material: Material) -> Converse:
        clips = _clips(material, BREATH_BYTES)
        return _any_of("transcribe", "/v1/transcribe", [form(clip) for clip in clips])

    return CallKind("transcribe", ("phonemes",), prepare)


def generate() -> CallKind:
    """The setting of a word."""
    strengths = (0.25, 0.5, 0.75, 1.0)

    def prepare(_material: Material) -> Converse:
        asked = [{"model": "equalizer", "descriptor": WORD, "strength": strength} for strength in strengths]
        bodies = [Payload(json.dumps(fields).encode(), "application/json") for fields in asked]
        return _any_of("generate", "/v1/generate", bodies)

    return CallKind("generate", ("equalizer",), prepare)


def _clips(material: Material, size: tuple[int, int]) -> list[bytes]:
    """Of so many bytes; all, where none is."""
    clips = [clip for _, clip in material.samples("voice")]
    low, high = size
    return [clip for clip in clips if low <= len(clip) <= high] or clips


def _of_samples(name: str, path: str, model: str) -> Callable[[Material], Converse]:
    def prepare(material: Material) -> Converse:
        return _any_of(name, path, [form(sample, model=model) for _, sample in material.samples(model)])

    return prepare


def _any_of(name: str, path: str, payloads: list[Payload]) -> Converse:
    def converse() -> Conversation:
        yield Request(name, path, random.choice(payloads))

    return converse
