"""Halves of made people, galleries searched by hand, and the page that says what was found."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter
from rich.progress import Progress
from typer.testing import CliRunner

from matchka.bundles.outputs.scoring import TwoCovarianceScoring
from matchka.bundles.scorers import two_covariance_scorer
from matchka_train.cli.train import app
from matchka_train.errors import RecipeError
from matchka_train.experiments.command import FACE
from matchka_train.experiments.figures import draw_promises
from matchka_train.experiments.promises import Cell, Promises, PromisesRecipe, try_promises
from matchka_train.experiments.promises_page import promises_page
from matchka_train.experiments.searches import NOT_FOUND, search_galleries
from matchka_train.metrics.scored_embeddings import ScoredEmbeddings
from matchka_train.run.recipe import read_recipe, write_recipe
from tests.factories.scorers import covariances, section, slow_similarity
from tests.factories.unit_vectors import unit_vectors

WANTED = PromisesRecipe(splits=2, templates=(1, 3), resamples=30, galleries_drawn=2, gallery=5)
LARGEST_FIGURE = 200_000  # bytes; it is kept in docs/experiments


def crowd(count: int, samples: int, seed: int) -> tuple[np.ndarray, list[str]]:
    generator = np.random.default_rng(seed)
    families = generator.standard_normal((20, 12))
    centres = families[generator.integers(0, 20, count)] + 0.8 * generator.standard_normal((count, 12))
    rows = np.repeat(centres, samples, axis=0) + 0.5 * generator.standard_normal((count * samples, 12))
    return rows.astype(np.float32), [f"p{number:03d}" for number in range(count) for _ in range(samples)]


def tried(wanted: PromisesRecipe) -> list[Cell]:
    with Progress(disable=True) as progress:
        return try_promises("made", {"crowd": crowd(60, 4, 0), "couples": crowd(62, 2, 1)}, 12, wanted, progress)


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return tried(WANTED)


def test_try_promises_when_people_have_too_few_samples_leaves_those_references_out(cells: list[Cell]) -> None:
    assert {(cell.domain, cell.templates) for cell in cells} == {("crowd", 1), ("crowd", 3), ("couples", 1)}
    assert {cell.people for cell in cells if cell.domain == "crowd"} == {(30, 30)}
    for cell in cells:
        assert {len(rates) for rates in (*cell.achieved.values(), *cell.missed.values())} == {4}
    sizes = {(cell.gallery, cell.modelled) for cell in cells if cell.domain == "crowd"}
    assert sizes == {(0, False), (5, False), (29, False), (1000, True)}


def test_try_promises_when_bounded_lets_in_fewer_strangers_and_finds_fewer_people(cells: list[Cell]) -> None:
    for cell in cells:
        assert all(bound <= plain for bound, plain in zip(cell.achieved["bound"], cell.achieved["plain"], strict=True))
        assert all(bound >= plain for bound, plain in zip(cell.missed["bound"], cell.missed["plain"], strict=True))


def test_try_promises_with_equal_seeds_is_equal(cells: list[Cell]) -> None:
    assert tried(WANTED) == cells
    assert tried(WANTED.model_copy(update={"seed": 1})) != cells


def test_search_galleries_when_all_are_enrolled_equals_a_loop_over_people() -> None:
    rows, subjects = crowd(8, 3, 3)
    found = search_galleries(rows, subjects, 12, templates=3, size=4, galleries=2, seed=0)
    assert set(found) == {4, 7}
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    means = {name: unit[[other == name for other in subjects]].mean(axis=0) for name in set(subjects)}
    for row, name, best in zip(unit, subjects, found[7].impostors[:24], strict=True):
        others = [row @ mean / np.linalg.norm(mean) for other, mean in means.items() if other != name]
        assert best == pytest.approx(max(others), abs=1e-5)
    assert found[7].found.size == 0  # every sample is in a reference
    assert len(found[4].impostors) == 2 * 24


def test_search_galleries_of_scored_embeddings_are_searched_by_their_scorer() -> None:
    scoring = TwoCovarianceScoring.model_validate(section())
    scorer = two_covariance_scorer(scoring, *(part.astype(np.float64) for part in covariances()))
    samples = ScoredEmbeddings(unit_vectors(8, 3, dim=8), np.array([1.0, 2, 5, 3] * 2), scorer)
    subjects = [name for name in "abcd" for _ in range(2)]
    found = search_galleries(samples, subjects, 4, templates=2, size=3, galleries=1, seed=0)
    means = samples.vectors.astype(np.float64).reshape(4, 2, 8).mean(axis=1)
    rows = samples.row_counts.reshape(4, 2).sum(axis=1)
    for number, best in enumerate(found[3].impostors):
        others = [
            slow_similarity(samples.vectors[number], means[other], samples.row_counts[number], rows[other], 4)
            for other in range(4)
            if other != number // 2
        ]
        assert best == pytest.approx(max(others), abs=1e-5)


def test_search_galleries_when_somebody_else_is_more_similar_finds_nobody() -> None:
    rows = np.array([[1, 0], [0, 1], [0.1, 1], [-1, 0.1], [0, 1]], np.float32)
    found = search_galleries(rows, ["a", "a", "b", "c", "c"], 2, templates=1, size=2, galleries=40, seed=0)[2]
    # a's other sample is like b; b has one sample and is never looked for
    assert NOT_FOUND in found.found.tolist()
    assert max(found.found) < 0.2


def test_page_when_written_holds_every_number_of_the_run(cells: list[Cell], tmp_path: Path) -> None:
    found = Promises(WANTED, {"made": "nothing"}, cells)
    page = promises_page(found)
    assert "made: nothing" in page
    for cell in cells:
        shown = f"{100 * cell.asked:g} | {cell.mean('plain'):.2f} | {cell.mean('bound'):.2f} |"
        assert shown in page
    assert all(len(line) <= 160 for line in page.splitlines() if not line.startswith("|"))
    draw_promises(found, tmp_path / "promises.png")
    assert 0 < (tmp_path / "promises.png").stat().st_size < LARGEST_FIGURE
    assert TypeAdapter(Promises).validate_json(TypeAdapter(Promises).dump_json(found)) == found


def test_promises_command_with_an_unknown_value_names_it() -> None:
    done = CliRunner().invoke(app, ["experiment", "promises", "--set", "split=3"])
    assert isinstance(done.exception, RecipeError)
    assert "split" in str(done.exception)


@pytest.mark.shared_data
def test_promises_command_on_the_default_face_writes_page_figure_and_numbers(
    models_dir: Path, shared_data: Path, tmp_path: Path
) -> None:
    few = "data.validation.0.folds={fold: 0, folds: 8, seed: 1}"
    recipe = read_recipe(FACE, (f"data.cache_dir={tmp_path / 'features'}", few))
    write_recipe(tmp_path / "face.yaml", recipe)
    arguments = [str(tmp_path / "face.yaml"), "--models", str(models_dir), "--data", str(shared_data)]
    quick = ["--set", "splits=1", "--set", "resamples=5", "--set", "templates=[1]", "--set", "galleries_drawn=5"]
    done = CliRunner().invoke(app, ["experiment", "promises", *arguments, *quick, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "promises.json").read_text())
    assert {tuple(cell["people"]) for cell in found["cells"]} <= {(22, 23), (23, 23), (23, 24)}
    assert "news-photographs, 128" in (tmp_path / "promises.md").read_text()
    assert (tmp_path / "promises.png").is_file()
