"""The contract of a kind of challenge: what is asked, and whether files show that it was done."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Content: TypeAlias = tuple[str, ...]  # words, or directions
Draw: TypeAlias = Callable[[Sequence[Content]], Content]  # what was asked before -> what is asked now
Samples: TypeAlias = Mapping[str, Sequence[bytes]]  # files by the name of the model that they are for


@dataclass(frozen=True)
class Attempt:
    """What is sent to redeem a challenge.

    Attributes:
        samples: at least one file for each model.
        max_fmr: rate of false matches to keep wherever people are compared.
        max_far: rate to keep of samples that show something else than what was asked.
        options: the caller's choices of how samples are read, by the names of their modality's options.
    """

    samples: Samples
    max_fmr: float
    max_far: float
    options: Mapping[str, str]


class Done(Protocol):
    """Whether what was asked was done, and on what that rests."""

    @property
    def match(self) -> bool:
        """Whether it was."""
        ...


@dataclass(frozen=True)
class Judged:
    """A challenge's own decision, and of each model the file that is to be compared with the subject's reference."""

    done: Done
    probes: Mapping[str, bytes]


class ChallengeKind(Protocol):
    """One kind of challenge. It knows which samples it is redeemed with."""

    @property
    def name(self) -> str:
        """As POST /v1/challenges and the store call it."""
        ...

    @property
    def answered_with(self) -> str:
        """The samples that it takes, in words."""
        ...

    def require_models(self) -> None:
        """Refuse where the served models could judge none of this kind.

        Raises: OutputNotAvailableError: they could not.
        """
        ...

    def draw(self, words: int | None) -> Draw:
        """What chooses the content of a new one.

        Args: words: that the caller asked for, if any.

        Raises: MatchkaError: none of this kind, or of so many words, can be given.
        """
        ...

    def takes(self, samples: Samples) -> bool:
        """Whether samples are meant for this kind rather than for another."""
        ...

    def require(self, attempt: Attempt) -> None:
        """Refuse, before the challenge is used up, what no content and no sample could make right.

        Raises: MatchkaError: a model, a number of files or a rate does not fit.
        """
        ...

    def judge(self, content: Content, attempt: Attempt) -> Judged:
        """Whether the samples show what was asked, where require() has not refused them.

        Raises: MatchkaError: a sample cannot be used.
        """
        ...
