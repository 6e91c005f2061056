"""The default `equalizer`: from shipped learned numbers, or, where these may not be used, from drawn settings alone."""

import os
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from matchka.bundles.bundle import Bundle, read_bundle, sha256_of
from matchka.bundles.manifest import REPORT_NAME, DatasetUse
from matchka.errors import BundleError

NAME: Final = "equalizer"
WITHOUT: Final = "MATCHKA_EXPORT_WITHOUT_SAFE"  # set to 1 where data without a licence may not shape a model
DRAWN: Final = "settings drawn evenly from all ranges"
SETTINGS, COPIES, MOVED = 60, 4, 0.05  # that a model without words is judged on


def build_equalizer(models_dir: Path, force: bool, environment: Mapping[str, str] = os.environ) -> tuple[Bundle, bool]:
    """The bundle, built where it is not there already.

    Args:
        models_dir: folder of the bundles.
        force: build even where the bundle is current.
        environment: says whether learned numbers may be used.

    Returns: the bundle, and whether it was built.

    Raises: BundleError, EvidenceError, GateError, ParityError: see build_words_bundle.
    """
    target, is_without = models_dir / NAME, environment.get(WITHOUT) == "1"
    current = None if force else current_equalizer(target, is_without)
    if current is not None:
        return current, False
    # torch takes seconds, and a bundle that is current needs none of it
    from matchka_export.words.build import build_words_bundle

    if not is_without:
        return build_words_bundle(target, *_shipped()), True
    with tempfile.TemporaryDirectory(prefix="matchka-equalizer-") as scratch:
        return build_words_bundle(target, *_made(Path(scratch))), True


def current_equalizer(target: Path, is_without: bool) -> Bundle | None:
    """The bundle at `target` if it checks out and was built from what would be used now; else None."""
    try:
        bundle = read_bundle(target)
    except BundleError:
        return None
    manifest = bundle.manifest
    if manifest.name != NAME:
        return None
    if is_without:
        return bundle if all(dataset.name == DRAWN for dataset in manifest.datasets) else None
    model, evidence = (sha256_of(path) for path in _shipped())
    same = (manifest.projection.sha256, manifest.files.get(REPORT_NAME)) == (model, evidence)
    return bundle if same else None


def _shipped() -> tuple[Path, Path]:
    with resources.as_file(resources.files("matchka_export.defaults")) as folder:
        return folder / f"{NAME}.safetensors", folder / f"{NAME}.json"


def _made(folder: Path) -> tuple[Path, Path]:
    """Fit and measure a model that no data shaped, by the recipe of the shipped one."""
    import torch

    from matchka_export.words.evidence import WordsEvidence, dim_report, write_words_evidence
    from matchka_train.heads.words.fit import backbone_of
    from matchka_train.heads.words.storage import load_words, save_words
    from matchka_train.heads.words.without_words import drawn_copies, fit_without_words
    from matchka_train.metrics.pairs import all_pairs

    fitted = fit_without_words(load_words(_shipped()[0]).recipe)
    recipe = fitted.recipe
    files = folder / f"{NAME}.safetensors", folder / f"{NAME}.json"
    save_words(files[0], fitted)
    values, copied = drawn_copies(recipe, SETTINGS, COPIES, MOVED)
    with torch.inference_mode():
        embeddings, places = fitted.model.embed(values).numpy(), fitted.model.features.places(values).numpy()
    evidence = WordsEvidence(
        backbone_sha256=backbone_of(recipe).source.sha256,
        projection_sha256=sha256_of(files[0]),
        dims=recipe.dims,
        per_dim={
            str(dim): dim_report(
                "drawn-settings",
                all_pairs(embeddings[:, :dim], copied),
                all_pairs(places[:, :dim], copied),
                recipe.seed,
            )
            for dim in recipe.dims
        },
        words=None,
        datasets=(
            DatasetUse(
                name=DRAWN,
                source="drawn by matchka-export",
                licence="Apache-2.0",
                use=f"fitted on some; judged on copies of others, each number moved by up to {MOVED:.0%} of its range",
            ),
        ),
        commands=(f"{WITHOUT}=1 matchka-export defaults",),
    )
    write_words_evidence(files[1], evidence)
    return files
