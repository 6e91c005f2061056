"""Named numbers from the shipped recipe to answers over HTTP: everything that another kind of samples needs."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from rich.console import Console
from rich.progress import Progress
from safetensors.numpy import load_file
from typer.testing import CliRunner

from matchka.bundles.bundle import Bundle, read_bundle
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.modalities.tabular.spec import TabularInputSpec
from matchka_export.__main__ import app
from matchka_train.run.recipe import Recipe, read_recipe
from matchka_train.run.run import run
from tests.factories.checkout import ROOT
from tests.factories.hands import MEASURES, Numbers, take_of, write_hands
from tests.factories.server_process import RunningServer, start, stop

RECIPE = ROOT / "training/matchka_train/recipes/tabular.yaml"
QUIET = Console(quiet=True)
TRAINED, HELD_OUT, TAKES = 70, 60, 6
ENROLLED = 20  # of those held out; the others are strangers
TOLERANCE = 1e-5


def person(number: int) -> int:
    """One of those held out."""
    return TRAINED + number


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set: a file for each take, and the list of them."""
    folder = tmp_path_factory.mktemp("tabular")
    write_hands(folder, TRAINED, HELD_OUT, TAKES)
    return folder


@pytest.fixture(scope="module")
def recipe(home: Path) -> Recipe:
    """The shipped recipe, on these samples."""
    return read_recipe(
        RECIPE,
        (
            f"data.train.0.path={home / 'samples.csv'}",
            f"data.validation.0.path={home / 'samples.csv'}",
            f"data.cache_dir={home / 'features'}",
            # the hands of two people who are nearly alike, as happens among 4,200 pairs
            "data.confirmed_lookalikes=[{first: hands/p14, second: hands/p103, reason: made up apart}]",
            f"output_dir={home / 'checkpoint'}",
        ),
    )


@pytest.fixture(scope="module")
def bundle(recipe: Recipe, home: Path) -> Bundle:
    """Trained, and exported through the gate: no worse than the features alone, without exception."""
    with Progress(console=QUIET) as progress:
        outcome = run(recipe, recipe.backbone.open(), progress)
    done = CliRunner().invoke(app, ["run", str(outcome.checkpoint), "--models-dir", str(home / "models")])
    assert done.exit_code == 0, done.output
    return read_bundle(home / "models" / recipe.name)


@pytest.fixture(scope="module")
def server(bundle: Bundle, home: Path) -> Iterator[RunningServer]:
    """A server that has enrolled some of those held out, half of them by forms, half by JSON."""
    running = start(bundle.path.parent, home / "data", None, wait=True, variables={})
    for number in range(ENROLLED):
        takes = [take_of(person(number), take) for take in range(3)]
        enroll = as_form if number % 2 else as_json
        answer = enroll(running, "enroll", takes, subject_id=f"p{number}")
        assert (answer["template_count"], answer["model"]) == (3, "hands")
    yield running
    stop(running.process)


def as_json(server: RunningServer, call: str, samples: list[Numbers], **fields: object) -> dict[str, Any]:
    """A call whose samples are objects in the body."""
    body = {"model": "hands", "file": samples if len(samples) > 1 else samples[0], **fields}
    answer: dict[str, Any] = requests.post(
        f"{server.url}/v1/{call}", json.dumps(body), headers={"Content-Type": "application/json"}, timeout=60
    ).json()
    return answer


def as_form(server: RunningServer, call: str, samples: list[Numbers], **fields: object) -> dict[str, Any]:
    """The same call as a form of files."""
    files = [("file", ("sample.json", json.dumps(sample).encode())) for sample in samples]
    data = {"model": "hands", **{name: str(value) for name, value in fields.items()}}
    answer: dict[str, Any] = requests.post(f"{server.url}/v1/{call}", data=data, files=files, timeout=60).json()
    return answer


@pytest.fixture(scope="module")
def expected(bundle: Bundle) -> "Expected":
    return Expected(load_file(bundle.path.parents[1] / "checkpoint" / "projection.safetensors"))


class Expected:
    """What the service must answer, in float64, from the projection's file and the recipe's numbers alone."""

    def __init__(self, projection: dict[str, np.ndarray]) -> None:
        self.weight, self.bias = (projection[name].astype(np.float64) for name in ("weight", "bias"))
        generator = np.random.default_rng(0)  # the recipe's seed, features and length scale
        self.frequencies = generator.standard_normal((6, 256)) / 2.0
        self.phases = generator.uniform(0, 2 * np.pi, 256)

    def embedding(self, numbers: Numbers) -> np.ndarray:
        at = []
        for name, low, high, by_factors, _ in MEASURES:
            share = (
                np.log(numbers[name] / low) / np.log(high / low) if by_factors else (numbers[name] - low) / (high - low)
            )
            at.append(np.sqrt(12) * (share - 0.5))
        waves = np.cos(np.array(at) @ self.frequencies + self.phases)
        return self.weight @ (waves / np.sqrt(waves @ waves)) + self.bias

    def similarity(self, subject: int, probe: Numbers, dim: int) -> float:
        """The cosine of a probe and the mean of a subject's unit-length embeddings, of their first components."""
        templates = [self.embedding(take_of(person(subject), take)) for take in range(3)]
        reference = np.mean([template / np.linalg.norm(template) for template in templates], axis=0)[:dim]
        embedding = self.embedding(probe)[:dim]
        return float(reference @ embedding / np.sqrt((reference @ reference) * (embedding @ embedding)))


def test_bundle_says_what_it_takes_and_is_better_than_the_features_alone(bundle: Bundle, recipe: Recipe):
    manifest = bundle.manifest
    assert (manifest.name, manifest.task, manifest.input.kind) == ("hands", "tabular verification", "tabular")
    assert isinstance(manifest.input, TabularInputSpec)
    stated = [(field.name, field.low, field.high, field.scale == "log") for field in manifest.input.fields]
    assert stated == [measure[:4] for measure in MEASURES]
    output = manifest.output(EmbeddingOutput)
    assert output.dims == recipe.dims
    report = output.per_dim[str(output.full_dim)]
    assert report.metrics["hands"].eer < report.backbone_metrics["hands"].eer


@pytest.mark.parametrize("dim", [8, 16, 32, 64])
def test_similarity_of_a_probe_is_what_numpy_makes_of_the_projection(
    server: RunningServer, expected: "Expected", dim: int
):
    for number in range(ENROLLED):
        mated, other = take_of(person(number), 4), take_of(person(number + 1), 4)
        for probe in (mated, other):
            similarity = expected.similarity(number, probe, dim)
            given = {"subject_id": f"p{number}", "dim": dim}
            answers = [as_json(server, "verify", [probe], **given), as_form(server, "verify", [probe], **given)]
            assert [answer["similarity"] for answer in answers] == [pytest.approx(similarity, abs=TOLERANCE)] * 2
            assert answers[0]["match"] == (answers[0]["similarity"] >= answers[0]["threshold"])


def test_people_are_verified_and_others_are_not(server: RunningServer):
    def matches(probe: int, subject: int) -> bool:
        match: bool = as_json(server, "verify", [take_of(person(probe), 5)], subject_id=f"p{subject}")["match"]
        return match

    assert sum(matches(number, number) for number in range(ENROLLED)) >= ENROLLED - 1
    assert sum(matches(number, (number + 1) % ENROLLED) for number in range(ENROLLED)) == 0


def test_people_are_identified_and_impostors_are_unknown(server: RunningServer, expected: "Expected"):
    found = 0
    for number in range(ENROLLED):
        probe = take_of(person(number), 5)
        answer = as_form(server, "identify", [probe]) if number % 2 else as_json(server, "identify", [probe])
        order = sorted(range(ENROLLED), key=lambda subject: -expected.similarity(subject, probe, 64))
        assert [candidate["subject_id"] for candidate in answer["candidates"]] == [f"p{n}" for n in order[:5]]
        found += answer["match"] == f"p{number}"
    assert found >= ENROLLED - 1
    strangers = [as_json(server, "identify", [take_of(person(n), 0)])["match"] for n in range(ENROLLED, HELD_OUT)]
    assert sum(match is not None for match in strangers) <= 1  # one in a hundred is promised, and here are forty


def test_command_line_takes_a_file_as_any_other(server: RunningServer, home: Path):
    arguments = ["identify", str(home / f"{person(3)}-4.json"), "--model", "hands", "--url", server.url, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "matchka", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["match"] == "p3"
    assert server.client().verify("p3", take_of(person(3), 4), model="hands").match


@pytest.mark.parametrize("send", [as_json, as_form])
@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"grip": 1000.1}, "number_out_of_range"),
        ({"grip": -1}, "number_out_of_range"),
        ({"skin_ph": float("nan")}, "not_a_number"),
        ({"skin_ph": None}, "not_a_number"),
        ({"height": 180}, "unknown_number"),
    ],
)
def test_sample_out_of_range_is_refused_with_422(server: RunningServer, send: Any, changed: Numbers, code: str):
    problem = send(server, "identify", [{**take_of(person(0), 4), **changed}])
    assert (problem["status"], problem["code"]) == (422, code)
    assert problem["remedy"]
