"""Fits told to MLflow's own client, with its store in a folder; whole runs, and what becomes of them when it fails."""

import io
import json
import shutil
import socket
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from matchka.errors import MissingPackageError
from matchka_train.errors import TrackingError
from matchka_train.run.recipe import Recipe, read_recipe
from matchka_train.run.run import run
from matchka_train.run.tracking import TrackedFit, forget_runs, require_tracking, tracking

mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")


@pytest.fixture
def kept(tmp_path, monkeypatch) -> Path:
    """The folder of an empty store, which is set up as a user would."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "kept").as_uri())
    return tmp_path / "kept"


@pytest.fixture
def recipe(recipe_path) -> Recipe:
    return read_recipe(recipe_path)


def fit_of(recipe: Recipe, folder: Path, identity: str = "one", said: io.StringIO | None = None) -> TrackedFit:
    folder.mkdir(exist_ok=True)
    progress = Progress(console=Console(file=said or io.StringIO(), width=200))
    return TrackedFit(recipe.candidates[0], recipe, folder, identity, progress)


def runs_of(recipe: Recipe) -> list:
    client = mlflow.MlflowClient()
    return client.search_runs([client.get_experiment_by_name(recipe.name).experiment_id])


def told(run_id: str, name: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in mlflow.MlflowClient().get_metric_history(run_id, name)]


@pytest.mark.slow
@pytest.mark.usefixtures("kept")
def test_run_tells_every_epoch_of_every_candidate_and_of_its_control(recipe_path, quiet):
    recipe = read_recipe(recipe_path)
    outcome = run(recipe, recipe.backbone.open(), quiet)
    report = json.loads((outcome.checkpoint / "report.json").read_text())
    found = {one.info.run_name: one for one in runs_of(recipe)}
    assert set(found) == {"linear", "linear, labels shuffled"}
    assert {one.info.status for one in found.values()} == {"FINISHED"}
    history = report["history"]["linear"]
    run_id, params = found["linear"].info.run_id, found["linear"].data.params
    eers = {entry["epoch"]: entry["report"]["studio"]["24"]["eer"] for entry in history}
    assert dict(told(run_id, "EER studio/24")) == pytest.approx(eers)
    losses = {entry["epoch"]: entry["loss"] for entry in history if entry["loss"] is not None}
    assert dict(told(run_id, "loss")) == pytest.approx(losses)
    assert params["dims"] == "4, 8, 24"
    artifact = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="recipe.json"))
    assert Recipe.model_validate_json(artifact.read_text()) == recipe


@pytest.mark.usefixtures("kept")
def test_fit_goes_on_in_its_run_and_another_or_a_forgotten_one_has_its_own(recipe, tmp_path):
    for number, identity in enumerate(("one", "one", "other", "other")):
        if number == 3:
            forget_runs(tmp_path / "fit")
        with tracking(fit_of(recipe, tmp_path / "fit", identity)) as tracker:
            tracker.log(number, {"loss": number / 4})
    histories = sorted(told(one.info.run_id, "loss") for one in runs_of(recipe))
    assert histories == [[(0, 0.0), (1, 0.25)], [(2, 0.5)], [(3, 0.75)]]


@pytest.mark.usefixtures("kept")
def test_names_that_mlflow_refuses_are_told_with_other_characters(recipe, tmp_path):
    with tracking(fit_of(recipe, tmp_path / "fit")) as tracker:
        tracker.log(0, {"EER studio (8 kHz) & Büro/24": 0.5})
    assert told(runs_of(recipe)[0].info.run_id, "EER studio _8 kHz_ _ Büro/24") == [(0, 0.5)]


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_fit_that_ends_early_is_told_so(recipe, tmp_path, error, status):
    with pytest.raises(error), tracking(fit_of(recipe, tmp_path / "fit")):
        raise error
    assert [one.info.status for one in runs_of(recipe)] == [status]


def test_store_that_vanishes_is_told_once_and_the_fit_goes_on(kept, recipe, tmp_path):
    said = io.StringIO()
    with tracking(fit_of(recipe, tmp_path / "fit", said=said)) as tracker:
        tracker.log(0, {"loss": 1.0})
        shutil.rmtree(kept)
        tracker.log(1, {"loss": 0.5})
        tracker.log(2, {"loss": 0.25})
    assert said.getvalue().count("MLflow is not told any more of this fit") == 1


def test_server_that_does_not_answer_stops_before_anything_is_read(recipe, quiet, monkeypatch):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        with pytest.raises(TrackingError, match="unset MLFLOW_TRACKING_URI"):
            run(recipe, recipe.backbone.open(), quiet)
    assert not recipe.data.cache_dir.exists()


def test_store_that_vanishes_between_two_fits_is_told_and_they_go_on(kept, recipe, tmp_path):
    require_tracking()
    kept.parent.joinpath("gone").write_text("no folder")
    shutil.rmtree(kept)
    shutil.move(kept.parent / "gone", kept)
    said = io.StringIO()
    with tracking(fit_of(recipe, tmp_path / "fit", said=said)) as tracker:
        tracker.log(0, {"loss": 1.0})
    assert said.getvalue().count("MLflow is not told any more of this fit") == 1


def test_nothing_of_mlflow_is_looked_for_where_its_address_is_not_set(recipe, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with tracking(fit_of(recipe, tmp_path / "fit")) as tracker:
        tracker.log(0, {"loss": 1.0})
    assert [path.name for path in (tmp_path / "fit").iterdir()] == ["tensorboard"]


@pytest.mark.usefixtures("kept")
def test_address_without_the_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingPackageError, match="mlflow"):
        require_tracking()
