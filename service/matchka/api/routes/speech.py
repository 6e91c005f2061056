"""POST /v1/challenges, /v1/pronounce and /v1/transcribe."""

from typing import Annotated

from fastapi import APIRouter, Depends

from matchka.api.dependencies import CallerDep
from matchka.api.forms import ChallengeForm, PronounceForm, TranscribeForm, body_schema, reads
from matchka.api.schemas import (
    ChallengeAnswer,
    PhraseAnswer,
    PronounceAnswer,
    PronouncedPhoneAnswer,
    PronouncedWordAnswer,
    TranscribeAnswer,
)
from matchka.tasks.speech.results import PhraseDecision

router = APIRouter()


@router.post(
    "/v1/challenges",
    status_code=201,
    openapi_extra=body_schema(ChallengeForm),
    summary="Give a subject a phrase to say",
)
async def ask(caller: CallerDep, form: Annotated[ChallengeForm, Depends(reads(ChallengeForm))]) -> ChallengeAnswer:
    """Words drawn at random, for one verification within a minute; what it stops is in docs/challenge.md."""
    challenge = await caller.run(lambda: caller.speech.ask(caller.tenant, form.subject_id, form.words))
    return ChallengeAnswer(
        challenge_id=challenge.challenge_id,
        kind=form.kind,
        phrase=" ".join(challenge.content),
        expires_at=challenge.expires_at,
    )


@router.post("/v1/pronounce", openapi_extra=body_schema(PronounceForm), summary="How well was this text said?")
async def pronounce(
    caller: CallerDep, form: Annotated[PronounceForm, Depends(reads(PronounceForm))]
) -> PronounceAnswer:
    """Whether a clip says a text, and how well each word and phone; nothing is stored."""
    said = await caller.run(lambda: caller.speech.pronounce(form.model, form.file, form.text, form.max_far))
    return PronounceAnswer(
        phrase=phrase_answer(said.phrase),
        words=[
            PronouncedWordAnswer(
                word=word.word,
                llr=word.llr,
                phones=[PronouncedPhoneAnswer(phone=phone.phone, llr=phone.llr) for phone in word.phones],
            )
            for word in said.words
        ],
        accuracy=said.accuracy,
        model=said.manifest.name,
        version=said.manifest.version,
    )


@router.post("/v1/transcribe", openapi_extra=body_schema(TranscribeForm), summary="Which phones does this say?")
async def transcribe(
    caller: CallerDep, form: Annotated[TranscribeForm, Depends(reads(TranscribeForm))]
) -> TranscribeAnswer:
    """The likeliest phones of a clip; nothing is stored."""
    found = await caller.run(lambda: caller.speech.transcribe(form.model, form.file))
    return TranscribeAnswer(phones=list(found.phones), model=found.manifest.name, version=found.manifest.version)


def phrase_answer(decision: PhraseDecision, decimals: int | None = None) -> PhraseAnswer:
    """The wire type of a decision on a phrase; its ratio to some decimals, or as exact as it is."""
    return PhraseAnswer(
        match=decision.match,
        llr=decision.llr if decimals is None else round(decision.llr, decimals),
        threshold=decision.threshold,
        threshold_measured=decision.measured,
        max_far=decision.far,
    )
