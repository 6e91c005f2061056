"""POST /v1/classify."""

from typing import Annotated

from fastapi import Depends

from matchka.api.answers.analysis import ClassAnswer, ClassifyAnswer
from matchka.api.dependencies import CallerDep
from matchka.api.forms import ClassifyForm, body_schema, reads
from matchka.api.routing import GuardedRouter
from matchka.tasks.classification.classification import classify

router = GuardedRouter(tags=["analysis"])


@router.post("/v1/classify", openapi_extra=body_schema(ClassifyForm), summary="Of which class is this, if any known?")
async def classify_sample(
    caller: CallerDep, form: Annotated[ClassifyForm, Depends(reads(ClassifyForm))]
) -> ClassifyAnswer:
    """The most probable class; `label` is null where the sample is of none that the model knows."""
    result = await caller.run(lambda: classify(caller.models, form.model, form.file, form.options))
    classes = [ClassAnswer(label=label, probability=share) for label, share in result.probabilities.items()]
    return ClassifyAnswer(
        label=result.label,
        classes=classes,
        values=result.values,
        windows=result.rows,
        sample=result.finding.as_json() if result.finding else None,
        model=result.manifest.name,
        version=result.manifest.version,
    )
