"""GET /v1/models."""

from fastapi import APIRouter

from service.bundle import Manifest
from service.routes.context import CallerDep
from service.schemas import ModelAnswer, ModelsAnswer

router = APIRouter()


@router.get("/v1/models", summary="The served bundles, and what was measured of them")
async def list_models(caller: CallerDep) -> ModelsAnswer:
    """Dims, operating points and metrics of every bundle."""
    return ModelsAnswer(models=[_answer(manifest) for manifest in caller.verifier.manifests])


def _answer(manifest: Manifest) -> ModelAnswer:
    return ModelAnswer(
        name=manifest.name,
        version=manifest.version,
        task=manifest.task,
        input_kind=manifest.input.kind,
        full_dim=manifest.full_dim,
        dims=list(manifest.dims),
        per_dim=manifest.per_dim,
        backbone=manifest.backbone,
        projection=manifest.projection,
        datasets=list(manifest.datasets),
        accepted_worse=manifest.accepted_worse,
    )
