"""Manifests of schema 1, which knew one output and two auxiliary graphs by name: read, and turned into schema 2."""

from typing import Any, Literal

from pydantic import Field

from matchka.bundles.manifest import AuxiliaryPart, Manifest, ManifestBase, Source
from matchka.bundles.outputs.embedding import EMBEDDINGS, EmbeddingOutput
from matchka.bundles.outputs.measurements import DimReport
from matchka.bundles.outputs.output import FrozenModel


class OutputKind(FrozenModel):
    """The one kind there was."""

    kind: Literal["embedding"]


class SpeechActivity(FrozenModel):
    """The graph `speech.onnx`."""

    kind: Literal["silero"]
    source: Source


class ManifestOfSchema1(ManifestBase):
    """manifest.json as it was before outputs had names."""

    schema_version: Literal[1]
    detector: AuxiliaryPart | None = None
    speech_activity: SpeechActivity | None = None  # bundles written before there was one judge by level alone
    output: OutputKind
    full_dim: int = Field(gt=0)
    dims: tuple[int, ...]
    per_dim: dict[str, DimReport]

    def as_schema_2(self) -> Manifest:
        """The same in schema 2.

        Raises: ValidationError: the manifest contradicts itself.
        """
        kept: dict[str, Any] = {name: getattr(self, name) for name in ManifestBase.model_fields}
        speech = self.speech_activity
        auxiliary = {
            "detector": self.detector,
            "speech_activity": speech and AuxiliaryPart(kind=speech.kind, sources={"speech.onnx": speech.source}),
        }
        embeddings = EmbeddingOutput(full_dim=self.full_dim, dims=self.dims, per_dim=self.per_dim)
        return Manifest(
            **kept
            | {
                "schema_version": 2,
                "auxiliary": {name: part for name, part in auxiliary.items() if part is not None},
                "outputs": {EMBEDDINGS: embeddings},
                "content_digest": None,
            }
        )
