"""GET /v1/models."""

from matchka.api.answers.models import ModelAnswer, ModelsAnswer
from matchka.api.dependencies import CallerDep
from matchka.api.routing import GuardedRouter
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.tasks.embedding.results import ModelVersion

router = GuardedRouter(tags=["models"])


@router.get("/v1/models", summary="The served bundles, and what was measured of them")
async def list_models(caller: CallerDep) -> ModelsAnswer:
    """Dims, operating points and metrics of every bundle; the kinds of challenges that are given."""
    models = [_answer(version) for version in caller.verifier.versions(caller.tenant)]
    return ModelsAnswer(models=models, challenges=list(caller.challenger.offered))


def _answer(version: ModelVersion) -> ModelAnswer:
    manifest = version.manifest
    embedding = manifest.output(EmbeddingOutput) if manifest.has_output(EmbeddingOutput) else None
    return ModelAnswer(
        name=manifest.name,
        version=manifest.version,
        task=manifest.task,
        input_kind=manifest.input.kind,
        input=manifest.input.model_dump(mode="json"),
        outputs={name: output.summary() for name, output in manifest.outputs.items()},
        full_dim=embedding.full_dim if embedding else 0,
        dims=list(embedding.dims) if embedding else [],
        per_dim=embedding.per_dim if embedding else {},
        backbone=manifest.backbone,
        projection=manifest.projection,
        datasets=list(manifest.datasets),
        accepted_worse=manifest.accepted_worse,
        current=version.is_current,
        subjects=version.subjects,
        subjects_to_reenroll=version.subjects_to_reenroll,
        graph_bytes=version.graph_bytes,
        gallery_bytes=version.gallery_bytes,
        graph=version.graph,
    )
