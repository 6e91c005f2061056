"""What is refused of samples that are named numbers."""

from matchka.errors import MatchkaError


class NotNumbersError(MatchkaError):
    """Bytes that are no JSON object whose names are each given once."""


class UnknownNumberError(MatchkaError):
    """A number that the model does not take."""


class MissingNumberError(MatchkaError):
    """A number that the model needs is absent."""


class NotANumberError(MatchkaError):
    """A value that is no finite number."""


class NumberOutOfRangeError(MatchkaError):
    """A number outside the range that the model was made for."""
