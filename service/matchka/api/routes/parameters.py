"""POST /v1/generate and /v1/morph."""

from typing import Annotated

from fastapi import Depends

from matchka.api.answers.analysis import ParametersAnswer
from matchka.api.dependencies import CallerDep
from matchka.api.forms import GenerateForm, MorphForm, body_schema, reads
from matchka.api.routing import GuardedRouter
from matchka.tasks.parameters.parameters import Setting, generate, morph

router = GuardedRouter(tags=["analysis"])


@router.post("/v1/generate", openapi_extra=body_schema(GenerateForm), summary="What setting does a word stand for?")
async def generate_setting(
    caller: CallerDep, form: Annotated[GenerateForm, Depends(reads(GenerateForm))]
) -> ParametersAnswer:
    """The setting of a word that enough people gave, at a strength; always within the ranges."""
    return _answer(await caller.run(lambda: generate(caller.models, form.model, form.descriptor, form.strength)))


@router.post("/v1/morph", openapi_extra=body_schema(MorphForm), summary="What lies between two settings?")
async def morph_settings(caller: CallerDep, form: Annotated[MorphForm, Depends(reads(MorphForm))]) -> ParametersAnswer:
    """A setting on the way from `a` (t = 0) to `b` (t = 1); always within the ranges."""
    return _answer(await caller.run(lambda: morph(caller.models, form.model, form.a, form.b, form.t), samples=2))


def _answer(setting: Setting) -> ParametersAnswer:
    return ParametersAnswer(parameters=setting.values, model=setting.manifest.name, version=setting.manifest.version)
