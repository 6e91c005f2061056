"""Errors of export; the service raises none of them."""

from matchka.errors import MatchkaError


class ParityError(MatchkaError):
    """The exported graph does not compute what the torch modules compute."""


class EvidenceError(MatchkaError):
    """Measurements that do not belong to the projection or the backbone they are shipped with."""


class GateError(MatchkaError):
    """A checkpoint that must not become a bundle: the message names the number that failed."""


class SigningKeyError(MatchkaError):
    """A key that cannot be written, or cannot sign bundles."""
