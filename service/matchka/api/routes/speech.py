"""POST /v1/pronounce and /v1/transcribe."""

from typing import Annotated

from fastapi import Depends

from matchka.api.answers.analysis import PronounceAnswer, PronouncedPhoneAnswer, PronouncedWordAnswer, TranscribeAnswer
from matchka.api.challenge_answers import phrase_answer
from matchka.api.dependencies import CallerDep
from matchka.api.forms import PronounceForm, TranscribeForm, body_schema, reads
from matchka.api.routing import GuardedRouter

router = GuardedRouter(tags=["analysis"])


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
