"""POST /v1/embed."""

import base64
from typing import Annotated

from fastapi import Depends

from matchka.api.dependencies import CallerDep
from matchka.api.findings import faces_answer
from matchka.api.forms import EmbedForm, body_schema, reads
from matchka.api.routing import GuardedRouter
from matchka.api.schemas import EmbedAnswer
from matchka.tasks.embedding.results import Embeddings

router = GuardedRouter()


@router.post("/v1/embed", openapi_extra=body_schema(EmbedForm), summary="Embed samples at a trained dim")
async def embed(caller: CallerDep, form: Annotated[EmbedForm, Depends(reads(EmbedForm))]) -> EmbedAnswer:
    """Embeddings of unit length; nothing is stored."""
    result = await caller.run(
        lambda: caller.verifier.embed(form.model, form.file, form.dim, form.options), samples=len(form.file)
    )
    return EmbedAnswer(
        model=result.manifest.name,
        version=result.manifest.version,
        dim=result.dim,
        encoding=form.encoding,
        embeddings=_encode(result, form.encoding),
        row_counts=list(result.row_counts),
        faces=faces_answer(result.findings),
    )


def _encode(result: Embeddings, encoding: str) -> list[list[float]] | list[str]:
    if encoding == "base64":
        return [base64.b64encode(row.astype("<f4").tobytes()).decode("ascii") for row in result.vectors]
    numbers: list[list[float]] = result.vectors.tolist()
    return numbers
