"""The default `equalizer`: from shipped learned numbers, or, where these may not be used, from drawn settings alone."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from matchka.bundles.bundle import Bundle, sha256_of
from matchka.bundles.manifest import REPORT_NAME, DatasetUse
from matchka_export.defaults.model import DefaultModel

WITHOUT: Final = "MATCHKA_EXPORT_WITHOUT_SAFE"  # set to 1 where data without a licence may not shape a model
DRAWN: Final = "settings drawn evenly from all ranges"
SETTINGS, COPIES, MOVED = 60, 4, 0.05  # that a model without words is judged on


@dataclass(frozen=True)
class EqualizerModel(DefaultModel):
    """Settings and their words; without words where MATCHKA_EXPORT_WITHOUT_SAFE=1."""

    def build(self, target: Path, downloads: Path, samples: Path, console: Console) -> Bundle:  # noqa: ARG002
        """Build it from what is shipped, or fit it on drawn settings."""
        with console.status("Loading torch"):
            from matchka_export.words.build import build_words_bundle
        if not _is_without():
            return build_words_bundle(target, self.fitted, self.evidence)
        with tempfile.TemporaryDirectory(prefix="matchka-equalizer-") as scratch:
            return build_words_bundle(target, *_made(self.fitted, Path(scratch)))

    def is_current(self, bundle: Bundle) -> bool:
        """Also whether data without a licence may shape it."""
        manifest = bundle.manifest
        if _is_without():
            return manifest.name == self.name and all(dataset.name == DRAWN for dataset in manifest.datasets)
        measured = (manifest.projection.sha256, manifest.files.get(REPORT_NAME))
        return manifest.name == self.name and measured == (sha256_of(self.fitted), sha256_of(self.evidence))


def _is_without() -> bool:
    return os.environ.get(WITHOUT) == "1"


def _made(shipped: Path, folder: Path) -> tuple[Path, Path]:
    """Fit and measure a model that no data shaped, by the recipe of the shipped one."""
    import torch

    from matchka_export.words.evidence import WordsEvidence, dim_report, write_words_evidence
    from matchka_train.heads.words.fit import backbone_of
    from matchka_train.heads.words.storage import load_words, save_words
    from matchka_train.heads.words.without_words import drawn_copies, fit_without_words
    from matchka_train.metrics.pairs import all_pairs

    fitted = fit_without_words(load_words(shipped).recipe)
    recipe = fitted.recipe
    files = folder / shipped.name, folder / f"{shipped.stem}.json"
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
