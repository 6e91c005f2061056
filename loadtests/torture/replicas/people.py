"""Who is enrolled: a direction for every number, far from all others."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from loadtests.client.caller import NO_HEADERS, Answer, Caller
from tests.factories.direct_embedder import DIM, sample_of

MODEL = "direct"
FILES = 8
LARGE = FILES * 20_000  # bytes of a request that fits into no buffer of deploy/haproxy.cfg, and is never sent twice
NOISE = 0.02  # of a component, beside a standard deviation of 1 / sqrt(DIM): similarities of one person are about 0.97

Vector = npt.NDArray[np.float64]


def subject_of(number: int) -> str:
    """The subject id of somebody."""
    return f"person-{number}"


@lru_cache(maxsize=100_000)
def sample(seed: int, number: int) -> bytes:
    """A sample of somebody, always the same."""
    return sample_of(_direction(seed, number))


def another_sample(seed: int, number: int, repetition: int) -> bytes:
    """A sample of the same person that is not equal to any other."""
    noise = np.random.default_rng([seed, number, repetition]).normal(size=DIM)
    return sample_of(_direction(seed, number) + NOISE * noise)


def enrol(caller: Caller, number: int, data: bytes, headers: Mapping[str, str] = NO_HEADERS, **fields: str) -> Answer:
    """Enrol somebody."""
    return caller.post("enroll", [data], headers, model=MODEL, subject_id=subject_of(number), **fields)


def identify(caller: Caller, data: bytes, headers: Mapping[str, str] = NO_HEADERS, top_k: int = 5) -> Answer:
    """Ask who somebody is."""
    return caller.post("identify", [data], headers, model=MODEL, top_k=str(top_k))


def verify(caller: Caller, number: int, data: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
    """Ask whether a sample is of somebody."""
    return caller.post("verify", [data], headers, model=MODEL, subject_id=subject_of(number))


def embed_many(caller: Caller, data: bytes) -> Answer:
    """Have a sample embedded many times, in a request that the proxy cannot send twice."""
    filled = data + b" " * max(0, LARGE // FILES - len(data))
    return caller.post("embed", [filled] * FILES, model=MODEL)


def delete(caller: Caller, number: int, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
    """Delete somebody."""
    return caller.delete(f"subjects/{subject_of(number)}", headers)


def candidates_of(answer: Answer) -> set[str]:
    """The subject ids that an answer of identify names."""
    named = {one["subject_id"] for one in answer.body["candidates"]}
    return named | ({answer.body["match"]} - {None})


def cosine(seed: int, one: int, other: int) -> float:
    """How alike two people are."""
    return float(_direction(seed, one) @ _direction(seed, other))


def _direction(seed: int, number: int) -> Vector:
    drawn = np.random.default_rng([seed, number]).normal(size=DIM)
    scaled: Vector = drawn / np.linalg.norm(drawn)
    return scaled
