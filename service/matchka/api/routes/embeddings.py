"""POST /v1/embed; and POST /v1/embeddings, the same for programs that speak OpenAI's interface."""

import base64
from typing import Annotated

from fastapi import Depends

from matchka.api.answers.embeddings import EmbedAnswer, EmbeddingsAnswer, OpenAiEmbedding, OpenAiUsage
from matchka.api.dependencies import Caller, CallerDep
from matchka.api.findings import faces_answer
from matchka.api.forms import EmbeddingsForm, EmbedForm, body_schema, reads
from matchka.api.media_types import require_media_types
from matchka.api.routing import GuardedRouter
from matchka.tasks.embedding.results import Embeddings

router = GuardedRouter(tags=["embeddings"])


@router.post("/v1/embed", openapi_extra=body_schema(EmbedForm), summary="Embed samples at a trained dim")
async def embed(caller: CallerDep, form: Annotated[EmbedForm, Depends(reads(EmbedForm))]) -> EmbedAnswer:
    """Embeddings of unit length; nothing is stored."""
    result = await _embedded(caller, form, form.file, form.dim)
    return EmbedAnswer(
        model=result.manifest.name,
        version=result.manifest.version,
        dim=result.dim,
        encoding=form.encoding,
        embeddings=_encode(result, form.encoding),
        row_counts=list(result.row_counts),
        faces=faces_answer(result.findings),
    )


@router.post("/v1/embeddings", openapi_extra=body_schema(EmbeddingsForm), summary="The same, as OpenAI's interface")
async def create_embeddings(
    caller: CallerDep, form: Annotated[EmbeddingsForm, Depends(reads(EmbeddingsForm))]
) -> EmbeddingsAnswer:
    """Embeddings of unit length of samples that are data: URIs; nothing is stored, and no address is fetched."""
    require_media_types(caller.models.current(form.model).manifest, form.input)
    result = await _embedded(caller, form, form.input, form.dimensions)
    rows = sum(result.row_counts)
    return EmbeddingsAnswer(
        data=[
            OpenAiEmbedding(index=index, embedding=embedding)
            for index, embedding in enumerate(_encode(result, form.encoding_format))
        ],
        model=result.manifest.name,
        version=result.manifest.version,
        usage=OpenAiUsage(prompt_tokens=rows, total_tokens=rows),
    )


async def _embedded(
    caller: Caller, form: EmbedForm | EmbeddingsForm, samples: list[bytes], dim: int | None
) -> Embeddings:
    return await caller.run(lambda: caller.verifier.embed(form.model, samples, dim, form.options), samples=len(samples))


def _encode(result: Embeddings, encoding: str) -> list[list[float]] | list[str]:
    if encoding == "base64":
        return [base64.b64encode(row.astype("<f4").tobytes()).decode("ascii") for row in result.vectors]
    numbers: list[list[float]] = result.vectors.tolist()
    return numbers
