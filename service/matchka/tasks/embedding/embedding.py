"""Embeddings of samples, out of what a graph with an embedding output returns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from matchka.bundles.manifest import Manifest
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.errors import UntrainedDimError
from matchka.inference.model import EmbeddedSamples, Model
from matchka.modalities.modality import Finding
from matchka.scorers import CountedEmbeddings, counted
from matchka.store.records import StoredEmbedding
from matchka.vectors import FloatArray, mean_by_group, truncate_and_normalise


@dataclass(frozen=True)
class Embedded:
    """Embeddings of samples, float32, (observations, full_dim), of unit length, and what was seen of each.

    Attributes:
        row_counts: of how many rows of the graph's output each is the mean.
        conditions: of each the value that decides which thresholds hold; None where the bundle has no such condition.
    """

    vectors: FloatArray
    findings: tuple[Finding | None, ...]
    row_counts: tuple[int, ...]
    conditions: tuple[float | None, ...]

    def one(self, number: int) -> CountedEmbeddings:
        """One of them, as scorers take it."""
        return counted(self.vectors[number : number + 1], self.row_counts[number : number + 1])

    def template(self, number: int) -> StoredEmbedding:
        """One of them, as the store would hold it."""
        return StoredEmbedding(self.vectors[number], self.row_counts[number], self.conditions[number])


def joined(parts: Sequence[Embedded]) -> Embedded:
    """Embeddings of several files, at least one, in their order."""
    return Embedded(
        np.concatenate([one.vectors for one in parts]),
        tuple(finding for one in parts for finding in one.findings),
        tuple(count for one in parts for count in one.row_counts),
        tuple(condition for one in parts for condition in one.conditions),
    )


def embeds(model: Model) -> bool:
    """Whether a model has an embedding output."""
    return model.manifest.has_output(EmbeddingOutput)


def embed(model: Model, samples: list[bytes], options: object) -> Embedded:
    """Embed whole files: the mean over the rows of each observation, of unit length.

    Args:
        model: what embeds.
        samples: files, at least one.
        options: of model.options_for().

    Raises:
        OutputNotAvailableError: the model does not embed.
        ZeroVectorError: an embedding has no direction.
        MatchkaError: a sample is not usable; the error says which.
    """
    name = model.manifest.output_name(EmbeddingOutput)
    seen = model.observe(samples, options)
    means = mean_by_group(seen.outputs[name], list(seen.rows))
    return Embedded(truncate_and_normalise(means, means.shape[1]), seen.findings, seen.rows, _conditions(model, seen))


def _conditions(model: Model, seen: EmbeddedSamples) -> tuple[float | None, ...]:
    """Of each observation the mean over its rows of what the graph returns, or what its reader measured if it could."""
    condition = model.manifest.output(EmbeddingOutput).condition
    if condition is None:
        return (None,) * len(seen.rows)
    if condition.source == "sample":
        return tuple(finding.measured().get(condition.value) if finding else None for finding in seen.findings)
    means = mean_by_group(seen.outputs[condition.value], list(seen.rows))
    return tuple(float(mean) for mean in means[:, 0])


def told(manifest: Manifest, seen: Embedded) -> tuple[dict[str, float] | None, ...]:
    """Of each observation what chooses among thresholds; see EmbeddingOutput.told."""
    output = manifest.output(EmbeddingOutput)
    return tuple(output.told(condition) for condition in seen.conditions)


def require_measured(model: Model, conditions: Sequence[float | None]) -> None:
    """Refuse to compare samples with each other where no threshold was measured on such; see EmbeddingOutput.measures.

    Raises: MatchkaError: none of them is good enough; the error is the modality's.
    """
    output, refuse = model.manifest.output(EmbeddingOutput), model.modality.too_poor
    if output.condition is None or refuse is None or output.measures(conditions):
        return
    raise refuse(max(value for value in conditions if value is not None), output.condition.edges[-1])


def require_dim(manifest: Manifest, dim: int | None) -> int:
    """The dim asked for, or full_dim where none was; refuses one that was not trained.

    Raises:
        OutputNotAvailableError: the model does not embed.
        UntrainedDimError: dim is not one of its dims.
    """
    embedding = manifest.output(EmbeddingOutput)
    if dim is None:
        return embedding.full_dim
    if dim not in embedding.dims:
        allowed = ", ".join(str(known) for known in embedding.dims)
        raise UntrainedDimError(
            f"Model {manifest.name} {manifest.version} was trained and validated at the dims {allowed}.",
            value=dim,
            remedy=f"Ask for one of {allowed}, or leave dim out for {embedding.full_dim}.",
        )
    return dim
