"""Embeddings of samples, out of what a graph with an embedding output returns."""

from matchka.bundles.manifest import Manifest
from matchka.bundles.outputs import EmbeddingOutput
from matchka.errors import UntrainedDimError


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
