"""Embeddings, in our words and in OpenAI's."""

from typing import Literal

from pydantic import Field

from matchka.api.answers.answer import Answer
from matchka.api.answers.samples import FaceAnswer


class EmbedAnswer(Answer):
    """Embeddings of unit length: lists of numbers, or base64 of little-endian float32.

    `row_counts`: of how many rows of the graph's output (windows of a recording) each is the mean.
    """

    model: str
    version: str
    dim: int
    encoding: str
    embeddings: list[list[float]] | list[str]
    row_counts: list[int] = Field(default_factory=list)  # no older service of version 1 tells them
    faces: list[FaceAnswer | None] | None = None


class OpenAiEmbedding(Answer):
    """An embedding of unit length, and the place of its sample in `input`, from 0."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class OpenAiUsage(Answer):
    """What was embedded: rows of the graph's output (windows of a recording), where OpenAI counts tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(Answer):
    """Embeddings as OpenAI's interface answers them; `version` names their space, which that does not tell."""

    object: Literal["list"] = "list"
    data: list[OpenAiEmbedding]
    model: str
    version: str
    usage: OpenAiUsage
