"""Errors of export; the service raises none of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from matchka.errors import MatchkaError


class ParityError(MatchkaError):
    """The exported graph does not compute what the torch modules compute."""


class EvidenceError(MatchkaError):
    """Measurements that do not belong to the projection or the backbone they are shipped with."""


class GateError(MatchkaError):
    """A checkpoint that must not become a bundle: the message names the number that failed."""


class VocabularyError(MatchkaError):
    """Words, or a dictionary, that no vocabulary can be made of."""


class SigningKeyError(MatchkaError):
    """A key that cannot be written, or cannot sign bundles."""


class QuantisationError(MatchkaError):
    """A graph that cannot be written in 8 bits, or samples that say nothing about its ranges."""


class UndecidableError(GateError):
    """Too few people or pairs to say that a graph is not worse; that is not a pass."""


@contextmanager
def statable(what: str) -> Iterator[None]:
    """Turn a value that no manifest or evidence may hold into an error of the gate.

    Args:
        what: is being stated, for the message.

    Raises: GateError: names the field and what it must be.
    """
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise GateError(
            f"{what} cannot be written down: {where}: {first['msg']}.",
            value=first["input"],
            remedy="Nothing was written. Check the labels of the validation data, and the projection.",
        ) from error


class TooLittleDataError(MatchkaError):
    """Fewer people, or fewer samples of them, than decide whether a model is any good."""
