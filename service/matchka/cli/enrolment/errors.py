"""What a file of people, or what is kept beside it, can be refused for."""

from matchka.errors import MatchkaError


class PeopleFileError(MatchkaError):
    """The CSV file of people cannot be read, or a line of it names nobody who can be enrolled."""


class JournalError(MatchkaError):
    """The journal cannot be read or written, or is that of another service or key."""


class OutcomeFileError(MatchkaError):
    """The report cannot be written."""
