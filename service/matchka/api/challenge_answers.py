"""The wire types of what challenges asked for, and of whether it was done."""

from collections.abc import Callable, Mapping
from typing import Final

from matchka.api.answers.analysis import ChallengeAnswer, DirectionsAnswer
from matchka.api.answers.decisions import HeadTurnAnswer, PhraseAnswer
from matchka.store.challenges import Challenge
from matchka.tasks.challenges.head_turn import HEAD_TURN, TurnDecision
from matchka.tasks.challenges.kind import Judged
from matchka.tasks.challenges.phrase import PHRASE
from matchka.tasks.speech.results import PhraseDecision

LLR_DECIMALS: Final = 2  # of a verification: enough for people, little for who tunes a forgery
TURN_DECIMALS: Final = 2


def phrase_of(judged: Judged | None) -> PhraseAnswer | None:
    """What a verification answers of a phrase; None where none was asked for."""
    done = None if judged is None else judged.done
    return phrase_answer(done, LLR_DECIMALS) if isinstance(done, PhraseDecision) else None


def head_turn_of(judged: Judged | None) -> HeadTurnAnswer | None:
    """What a verification answers of a turning head; None where none was asked for."""
    done = None if judged is None else judged.done
    if not isinstance(done, TurnDecision):
        return None
    turns = [round(turn, TURN_DECIMALS) for turn in done.turns]
    return HeadTurnAnswer(match=done.match, same_person=done.is_same, turns=turns, least_turn=done.least_turn)


def given_answer(given: Challenge) -> ChallengeAnswer | DirectionsAnswer:
    """The wire type of a new challenge of any kind."""
    return GIVEN[given.kind](given)


def _phrase_given(given: Challenge) -> ChallengeAnswer:
    phrase = " ".join(given.content)
    return ChallengeAnswer(challenge_id=given.challenge_id, kind=given.kind, phrase=phrase, expires_at=given.expires_at)


def _directions_given(given: Challenge) -> DirectionsAnswer:
    directions = list(given.content)
    return DirectionsAnswer(
        challenge_id=given.challenge_id, kind=given.kind, directions=directions, expires_at=given.expires_at
    )


GIVEN: Final[Mapping[str, Callable[[Challenge], ChallengeAnswer | DirectionsAnswer]]] = {
    PHRASE: _phrase_given,
    HEAD_TURN: _directions_given,
}


def phrase_answer(decision: PhraseDecision, decimals: int | None = None) -> PhraseAnswer:
    """The wire type of a decision on a phrase; its ratio to some decimals, or as exact as it is."""
    return PhraseAnswer(
        match=decision.match,
        llr=decision.llr if decimals is None else round(decision.llr, decimals),
        threshold=decision.threshold,
        threshold_measured=decision.measured,
        max_far=decision.far,
    )
