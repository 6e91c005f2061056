"""Measures a checkpoint of settings and words, and puts learned numbers and measurements side by side."""

import shutil
from pathlib import Path

from matchka.bundles.bundle import sha256_of
from matchka.bundles.manifest import DatasetUse
from matchka_export.errors import statable
from matchka_export.words.build import require_good
from matchka_export.words.evidence import WordsEvidence, word_reports, write_words_evidence
from matchka_train.heads.words.fit import backbone_of
from matchka_train.heads.words.judging.figures import measures_of
from matchka_train.heads.words.storage import load_words
from matchka_train.heads.words.table import read_presets
from matchka_train.heads.words.train import MODEL_NAME, cross_fit


def measure_words(checkpoint: Path, out: Path) -> tuple[Path, Path]:
    """Judge a checkpoint's recipe on the contributors of its table, each by a model that does not know them.

    Numbers that the checkpoint holds about itself are not read.

    Args:
        checkpoint: folder that `matchka-train words` wrote.
        out: folder for NAME.safetensors and NAME.json, written once everything is measured.

    Returns: both files.

    Raises:
        ProjectionError, DatasetError: no checkpoint, or no data.
        GateError: it is not good enough; nothing is written.
    """
    model_path = checkpoint / MODEL_NAME
    fitted = load_words(model_path)
    recipe = fitted.recipe
    judged = cross_fit(recipe, read_presets(recipe))
    use = f"fitted on all contributors; judged in {recipe.table.folds} folds of contributors, none by a model of theirs"
    with statable("What was measured of settings"):
        evidence = WordsEvidence(
            backbone_sha256=backbone_of(recipe).source.sha256,
            projection_sha256=sha256_of(model_path),
            dims=recipe.dims,
            per_dim=word_reports(recipe, judged),
            words=measures_of(recipe, judged),
            datasets=(
                DatasetUse(
                    name=recipe.table.path.stem, source=recipe.table.source, licence=recipe.table.licence, use=use
                ),
            ),
            commands=(f"matchka-export words {checkpoint.as_posix()}",),
        )
    require_good(evidence)
    out.mkdir(parents=True, exist_ok=True)
    files = out / f"{recipe.name}.safetensors", out / f"{recipe.name}.json"
    shutil.copyfile(model_path, files[0])
    write_words_evidence(files[1], evidence)
    return files
