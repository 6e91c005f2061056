"""Whole exports that somebody bent: each ends in a named error, and nothing is written."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from rich.console import Console
from rich.progress import Progress

from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka_export.checkpoint import read_checkpoint
from matchka_export.errors import GateError, UndecidableError
from matchka_export.run import ExportOptions, export_bundle, export_shipped
from matchka_train.projections.affine import AffineProjection
from matchka_train.projections.storage import load_projection, save_projection
from matchka_train.run.recipe import read_recipe, write_recipe
from matchka_train.run.run import run
from tests.factories.checkout import ROOT
from tests.factories.checkpoints import record_again
from tests.factories.hands import write_hands

RECIPE = ROOT / "training/matchka_train/recipes/tabular.yaml"
QUIET = Console(quiet=True)
pytestmark = pytest.mark.slow
HELD_OUT, TAKES = 60, 6
Weights = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that passes the gate, trained as its recipe says; its data lie beside it."""
    home = tmp_path_factory.mktemp("honest")
    write_hands(home, 70, HELD_OUT, TAKES)
    overrides = (
        f"data.train.0.path={home / 'samples.csv'}",
        f"data.validation.0.path={home / 'samples.csv'}",
        f"data.cache_dir={home / 'features'}",
        f"output_dir={home / 'checkpoint'}",
        "data.confirmed_lookalikes=[{first: hands/p14, second: hands/p103, reason: made up as two people}]",
    )
    recipe = read_recipe(RECIPE, overrides)
    with Progress(console=QUIET) as progress:
        return run(recipe, recipe.backbone.open(), progress).checkpoint


def with_weights(honest: Path, folder: Path, change: Callable[[Weights], Weights]) -> Path:
    """The same checkpoint with other weights in its projection."""
    shutil.copytree(honest, folder)
    projection, info = load_projection(folder / "projection.safetensors")
    assert isinstance(projection, AffineProjection)
    weight, bias = change((projection.weight.numpy(), projection.bias.numpy()))
    save_projection(folder / "projection.safetensors", AffineProjection(weight, bias), info)
    return folder


def with_recipe(honest: Path, folder: Path, *overrides: str) -> Path:
    """The same checkpoint with other values in its recipe."""
    shutil.copytree(honest, folder)
    write_recipe(folder / "recipe.yaml", read_recipe(folder / "recipe.yaml", overrides))
    record_again(folder)
    return folder


def with_samples(honest: Path, folder: Path, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> Path:
    """The same checkpoint, validated by a list that was changed."""
    rows = list(csv.DictReader((honest.parent / "samples.csv").read_text().splitlines()))
    held_out = change([row for row in rows if row["split"] == "dev"])
    path = honest.parent / f"{folder.name}.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ("path", "subject", "split"))
        writer.writeheader()
        writer.writerows(held_out)
    return with_recipe(honest, folder, f"data.validation.0.path={path}")


def require_refused(checkpoint: Path, folder: Path, error: type[GateError], message: str) -> None:
    """Neither `run` nor `measure` writes anything."""
    with pytest.raises(error, match=message) as caught:
        export_bundle(checkpoint, folder / "models" / "hands", ExportOptions(), QUIET)
    assert "Nothing was written" in caught.value.remedy
    with pytest.raises(error, match=message):
        export_shipped(checkpoint, folder / "shipped", ExportOptions(accept_worse="because"), QUIET)
    assert not [path for path in (folder / "models").rglob("*") if path.is_file()]
    assert not (folder / "shipped").exists()


def random_matrix(weights: Weights) -> Weights:
    return np.random.default_rng(1).standard_normal(weights[0].shape).astype(np.float32), np.zeros_like(weights[1])


def reverse(weights: Weights) -> Weights:
    return weights[0][::-1].copy(), weights[1][::-1].copy()


def hold_constant(weights: Weights) -> Weights:
    return np.where(np.arange(len(weights[0])) < 8, 0, weights[0].T).T.astype(np.float32), weights[1] + 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (random_matrix, "hands at dim 64"),
        (reverse, "hands at dim 8"),
        (hold_constant, "dim 8: .*as good as guessing"),
    ],
)
def test_export_when_weights_were_replaced_writes_nothing(
    honest: Path, tmp_path: Path, change: Callable[[Weights], Weights], message: str
) -> None:
    checkpoint = with_weights(honest, tmp_path / "bent", change)
    require_refused(checkpoint, tmp_path, GateError, message)


def test_export_when_validation_labels_were_shuffled_writes_nothing(honest: Path, tmp_path: Path) -> None:
    def shuffle(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        subjects = np.random.default_rng(0).permutation([row["subject"] for row in rows])
        return [row | {"subject": str(subject)} for row, subject in zip(rows, subjects, strict=True)]

    checkpoint = with_samples(honest, tmp_path / "shuffled", shuffle)
    require_refused(checkpoint, tmp_path, GateError, "are its labels right")


def test_export_when_three_people_validate_is_undecidable(honest: Path, tmp_path: Path) -> None:
    checkpoint = with_samples(honest, tmp_path / "three", lambda rows: rows[: 3 * TAKES])
    require_refused(checkpoint, tmp_path, UndecidableError, "3 people and 45 mated pairs")


def test_export_when_name_fits_no_manifest_is_refused_in_our_words(honest: Path, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="name: String should match pattern"):
        export_bundle(honest, tmp_path / "models" / "My Hands", ExportOptions(), QUIET)
    assert not [path for path in (tmp_path / "models").rglob("*") if path.is_file()]


def test_export_when_pairs_are_listed_judges_these(honest: Path, tmp_path: Path) -> None:
    """As validation does in training."""
    checkpoint = with_recipe(honest, tmp_path / "listed", "data.validation.0.balanced_pairs=310")
    manifest = export_bundle(checkpoint, tmp_path / "models" / "hands", ExportOptions(), QUIET).manifest
    for report in manifest.output(EmbeddingOutput).per_dim.values():
        assert report.gate["hands"].mated_pairs == report.metrics["hands"].non_mated_pairs == 310
        assert report.gate["hands"].verdict == "passed"
        assert report.gate["hands"].eer == pytest.approx(report.metrics["hands"].eer)
    fewer = with_recipe(honest, tmp_path / "fewer", "data.validation.0.balanced_pairs=290")
    require_refused(fewer, tmp_path / "refused", UndecidableError, "290 mated pairs")


def test_read_checkpoint_when_data_have_moved_finds_the_list_of_pairs_with_them(honest: Path, tmp_path: Path) -> None:
    rows = csv.DictReader((honest.parent / "samples.csv").read_text().splitlines())
    held_out = [row for row in rows if row["split"] == "dev"]
    first, second, other = held_out[0]["path"], held_out[1]["path"], held_out[-1]["path"]
    (honest.parent / "pairs.txt").write_text(f"1 {first} {second}\n0 {first} {other}\n")
    checkpoint = with_recipe(honest, tmp_path / "moved", f"data.validation.0.trials={honest.parent / 'pairs.txt'}")
    path = checkpoint / "recipe.yaml"
    write_recipe(path, read_recipe(path, ("data.validation.0.trials=gone/pairs.txt",)))
    with Progress(console=QUIET) as progress:
        (dataset,) = read_checkpoint(checkpoint, honest.parent, progress).validation_sets
    assert dataset.trials == honest.parent / "pairs.txt"
    assert dataset.path == honest.parent / "samples.csv"
