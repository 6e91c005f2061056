"""Challenges of any tenant, of every kind that is offered. Calls block; routes run them on worker threads."""

from collections.abc import Iterable

from matchka.errors import InvalidFieldError, OutputNotAvailableError
from matchka.store.challenges import Challenge, ChallengeLimits, Challenges
from matchka.tasks.challenges.kind import Attempt, ChallengeKind, Judged, Samples


class Challenger:
    """Gives challenges to subjects, and judges what they answer.

    Args:
        kinds: those that are offered.
        challenges: of the store.
        limits: of the settings.
    """

    def __init__(self, kinds: Iterable[ChallengeKind], challenges: Challenges, limits: ChallengeLimits) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        self._challenges = challenges
        self._limits = limits

    @property
    def offered(self) -> tuple[str, ...]:
        """The kinds that the settings offer and the served models can judge."""
        return tuple(name for name, kind in self._kinds.items() if _can_be_judged(kind))

    def ask(self, tenant: str, subject_id: str, kind_name: str, words: int | None = None) -> Challenge:
        """A fresh challenge for a subject.

        Raises:
            InvalidFieldError: the kind is not offered, or has no such number of words.
            MatchkaError: see ChallengeKind.draw().
            UnknownSubjectError, TooManyChallengesError: see Challenges.issue().
        """
        kind = self._kinds.get(kind_name)
        if kind is None:
            raise InvalidFieldError(
                "This service gives no challenges of this kind.",
                value=kind_name,
                remedy=f"Use one of {', '.join(self._kinds)}; head_turn is offered where MATCHKA_HEAD_TURN is set.",
            )
        return self._challenges.issue(tenant, subject_id, kind_name, self._limits, kind.draw(words))

    def judge(self, tenant: str, subject_id: str, challenge_id: str, attempt: Attempt) -> Judged:
        """Whether a subject did what it was asked; the challenge is used up first, whatever the samples are.

        Raises:
            ChallengeNotRedeemableError: it is not there for this subject, now.
            InvalidFieldError: no kind takes these samples, or they are to be read in another way than by default.
            MatchkaError: see ChallengeKind.require(), which uses nothing up, and ChallengeKind.judge().
        """
        if attempt.options:  # what is judged has to be what is compared
            raise InvalidFieldError(
                "Samples that answer a challenge are read as by default.",
                value=", ".join(f"{name}={value}" for name, value in attempt.options.items()),
                remedy=f"Leave {', '.join(attempt.options)} out.",
            )
        kind = self._kind_for(attempt.samples)
        kind.require(attempt)
        content = self._challenges.redeem(tenant, subject_id, challenge_id, kind.name)
        return kind.judge(content, attempt)

    def _kind_for(self, samples: Samples) -> ChallengeKind:
        for kind in self._kinds.values():
            if kind.takes(samples):
                return kind
        raise InvalidFieldError(
            "No challenge that this service gives is answered with these files.",
            value=", ".join(f"{len(files)} for {name}" for name, files in samples.items()),
            remedy=f"Send {'; '.join(f'for {kind.name} {kind.answered_with}' for kind in self._kinds.values())}.",
        )


def _can_be_judged(kind: ChallengeKind) -> bool:
    try:
        kind.require_models()
    except OutputNotAvailableError:
        return False
    return True
