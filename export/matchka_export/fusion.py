"""The fusion of two bundles: weights fitted on chimeric subjects (a speaker paired with a face)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.progress import Progress

from matchka.bundles.bundle import Bundle
from matchka.bundles.content import DIGEST_FIELD, content_digest
from matchka.bundles.fusion_file import JOINT, FusedPoint, Fusion
from matchka.bundles.manifest import REPORT_NAME, DatasetUse
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.outputs.measurements import Promise
from matchka.runtime.atomic_file import write_atomically
from matchka_export.gate.dim_report import Embedded
from matchka_train.datasets.reader import read_dataset
from matchka_train.datasets.recipe import DatasetRecipe
from matchka_train.evaluation.fusion import FusionResult, Line, Modality, draw_chimeras, learn_fusion
from matchka_train.evaluation.validation import scored_by_domain
from matchka_train.features.extraction import extract_features
from matchka_train.judging.models import open_model
from matchka_train.metrics.identity_bootstrap import CONFIDENCE, METHOD, RESAMPLES
from matchka_train.run.recipe import Recipe

SEED: Final = 20261121


def learn_fusion_of(bundles: Sequence[Bundle], recipes: Sequence[Recipe], progress: Progress) -> Fusion:
    """Learn the fusion of two bundles on the first validation data set of each one's recipe.

    Their dims are paired from the largest down; weights are served for the largest pair only.

    Args:
        bundles: two, in the order of the fusion's name.
        recipes: how each was trained.
        progress: shows how far it is.

    Raises: DatasetError, FeatureError, NoTrialsError, CheckpointError: as the steps.
    """
    data = [recipe.data.validation[0] for recipe in recipes]
    first, second = (_embed(*part, progress) for part in zip(bundles, recipes, data, strict=True))
    draws = draw_chimeras(first, second, SEED)
    dims = [bundle.manifest.output(EmbeddingOutput).dims for bundle in bundles]
    pairs = list(zip(reversed(dims[0]), reversed(dims[1]), strict=False))
    task = progress.add_task("learning weights", total=len(pairs))
    results: list[tuple[tuple[int, int], FusionResult]] = []
    for pair in pairs:
        lines = _line(bundles[0], pair[0]), _line(bundles[1], pair[1])
        results.append((pair, learn_fusion(first, second, pair, lines, draws, SEED)))
        progress.advance(task)
    names = [bundle.manifest.name for bundle in bundles]
    served = results[0][1]
    unsealed = Fusion(
        format="matchka-fusion-1",
        models={bundle.manifest.name: bundle.manifest.version for bundle in bundles},
        weights=dict(zip(names, served.fit.weights, strict=True)),
        offset=served.fit.offset,
        operating_points=tuple(
            FusedPoint(fmr=point.fmr, threshold=point.threshold, measured=point.measured, estimate=point.estimate)
            for point in served.points
        ),
        eer=_rates(names, results),
        datasets=tuple(_use(dataset) for dataset in data),
        promise=Promise(
            confidence=CONFIDENCE,
            method=METHOD,
            resamples=RESAMPLES,
            seed=SEED,
            people={name: len(set(part.subjects)) for name, part in zip(names, (first, second), strict=True)},
            selected_on="these people" if any(recipe.validation_chooses for recipe in recipes) else "nothing",
        ),
    )
    return seal_fusion(unsealed, {bundle.manifest.name: bundle.manifest.files[REPORT_NAME] for bundle in bundles})


def seal_fusion(fusion: Fusion, reports: Mapping[str, str]) -> Fusion:
    """The same with what it was learned with, name -> sha256 of that report.json, and the digest of all it says."""
    document = fusion.model_dump(mode="json") | {"format": "matchka-fusion-3", "reports": dict(reports)}
    return Fusion.model_validate(document | {DIGEST_FIELD: content_digest(document)})


def write_fusion(path: Path, fusion: Fusion) -> None:
    """Write a fusion; the file is whole or not there."""
    write_atomically(path, (fusion.model_dump_json(indent=1) + "\n").encode())


def _embed(bundle: Bundle, recipe: Recipe, dataset: DatasetRecipe, progress: Progress) -> Modality:
    model = open_model(bundle.path)
    samples = read_dataset(dataset)
    features = extract_features(samples, model.backbone, recipe.data.cache_dir, progress, recipe.data.limits)
    embedded: Embedded = scored_by_domain(model.embed_windows, [features], model.scorer)
    return Modality(*embedded[dataset.domain])


def _line(bundle: Bundle, dim: int) -> Line:
    calibration = bundle.manifest.output(EmbeddingOutput).per_dim[str(dim)].calibration["1"]
    return Line(calibration.scale, calibration.offset)


def _rates(names: Sequence[str], results: Sequence[tuple[tuple[int, int], FusionResult]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for pair, result in results:
        alone = [f"{name}/{dim}" for name, dim in zip(names, pair, strict=True)]
        found |= dict(zip([*alone, JOINT.join(alone)], result.eers, strict=True))
    return found


def _use(dataset: DatasetRecipe) -> DatasetUse:
    return DatasetUse(
        name=dataset.corpus, source=dataset.source, licence=dataset.licence, use="put together as chimeric people"
    )
