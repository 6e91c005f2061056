"""POST /v1/challenges."""

from typing import Annotated

from fastapi import Depends

from matchka.api.answers.analysis import ChallengeAnswer, DirectionsAnswer
from matchka.api.challenge_answers import given_answer
from matchka.api.dependencies import CallerDep
from matchka.api.forms import ChallengeForm, body_schema, reads
from matchka.api.routing import GuardedRouter

router = GuardedRouter(tags=["decisions"])


@router.post(
    "/v1/challenges",
    status_code=201,
    openapi_extra=body_schema(ChallengeForm),
    summary="Give a subject a phrase to say, or directions for its head",
)
async def create_challenge(
    caller: CallerDep, form: Annotated[ChallengeForm, Depends(reads(ChallengeForm))]
) -> ChallengeAnswer | DirectionsAnswer:
    """Words or, experimentally, directions drawn at random, for one verification within a minute.

    What it stops is in docs/challenge.md.
    """
    return given_answer(
        await caller.run(lambda: caller.challenger.ask(caller.tenant, form.subject_id, form.kind, form.words))
    )
