"""Voice and face together with small real graphs: what passes, what each part says, and whose count is used."""

import contextlib
import dataclasses
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from typer.testing import CliRunner

from matchka.bundles.fusion_file import read_fusions
from matchka.bundles.repository import read_bundles
from matchka.cli.main import app
from matchka.errors import RequestFailedError
from matchka.inference.model import open_model
from matchka.modalities.face.sample_reader import FaceOptions
from matchka.modalities.modality import Observation, Reader
from matchka.settings import Settings
from matchka.store.store import opened_store
from matchka.tasks.embedding.verifier import Verifier
from tests.factories.bundles import CALIBRATION, POINTS, VERSION, write_bundle
from tests.factories.samples import sample, voice
from tests.factories.slow_embedding import cosine, embedding_of
from tests.factories.small_server import SmallServer, serving, small_settings

TENANT = "default"
SEEDS = {"voice": 9, "face": 8}  # "face" takes clips too: only the decision is of interest here
WEIGHTS = {"voice": 1.1, "face": 0.9}
OFFSET = 0.5
FUSED_POINTS = ((1e-1, -6.0, True), (1e-2, -2.0, True), (1e-3, 0.0, False))
PROBES = [(1, 1), *[pair for n in range(2, 14) for pair in ((1, n), (n, 1), (n, n))]]


def write_models(folder: Path) -> Settings:
    for name, seed in SEEDS.items():
        write_bundle(folder / "models" / name, name, seed=seed)
    fusion = {
        "format": "matchka-fusion-1",
        "models": dict.fromkeys(SEEDS, VERSION),
        "weights": WEIGHTS,
        "offset": OFFSET,
        "operating_points": [{"fmr": fmr, "threshold": t, "measured": m} for fmr, t, m in FUSED_POINTS],
        "eer": {},
        "datasets": [],
    }
    (folder / "models" / "voice+face").mkdir()
    (folder / "models" / "voice+face" / "fusion.json").write_text(json.dumps(fusion))
    return small_settings(folder)


@pytest.fixture(scope="module")
def both_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    """A server of both models on which `ada` is enrolled: the voice and the face of person 1, one template each."""
    with serving(write_models(tmp_path_factory.mktemp("both"))) as running:
        for name in SEEDS:
            running.client().enroll("ada", [sample(1)], name)
        yield running


def expected_parts(voice_of: int, face_of: int) -> dict[str, float]:
    """Similarities of ada's references and the probes of two people, by the slow embedding."""
    probes = {"voice": voice(voice_of, 5), "face": voice(face_of, 6)}
    return {name: cosine(embedding_of(voice(1), s), embedding_of(probes[name], s)) for name, s in SEEDS.items()}


def fused_ratio(similarities: dict[str, float], count: str = "1") -> float:
    scale, offset = CALIBRATION[count]
    return OFFSET + sum(WEIGHTS[name] * (scale * s + offset) for name, s in similarities.items())


@pytest.mark.parametrize("floor", [1e-1, 1e-2, 1e-3])
def test_verify_on_both_passes_only_where_the_sum_and_each_part_do(both_server: SmallServer, floor: float):
    client = both_server.client()
    (least,) = [threshold for fmr, threshold, _ in POINTS["1"] if fmr == floor]
    seen = set()
    for voice_of, face_of in PROBES:
        probes = sample(voice_of, 5), sample(face_of, 6)
        answer = client.verify_jointly("ada", *probes, max_fmr=1e-3, max_fmr_each=floor)
        similarities = expected_parts(voice_of, face_of)
        sum_passes = fused_ratio(similarities) >= 0.0
        passes = {name: similarity >= least for name, similarity in similarities.items()}
        assert answer.match == (sum_passes and all(passes.values()))
        assert (answer.require, answer.max_fmr, answer.max_fmr_each) == ("both", 1e-3, floor)
        for name, part in answer.parts.items():
            assert part.similarity == pytest.approx(similarities[name], abs=5e-5)
            assert (part.match, part.max_fmr, part.threshold) == (passes[name], floor, pytest.approx(least))
        assert (answer.similarity >= answer.threshold) == sum_passes
        summed = client.verify_jointly("ada", *probes, max_fmr=1e-3, require="sum")
        assert summed.match == sum_passes
        assert (summed.similarity, summed.threshold) == (answer.similarity, answer.threshold)
        assert (summed.require, summed.max_fmr_each) == ("sum", None)
        assert {name: (part.max_fmr, part.match) for name, part in summed.parts.items()} == {
            name: (1e-3, similarity >= 0.97) for name, similarity in similarities.items()
        }
        seen.add((sum_passes, passes["voice"], passes["face"]))
    assert (True, True, True) in seen
    if floor == 1e-2:  # what the floor is for: a sum that one part buys for the other
        assert {(True, True, False), (True, False, True)} <= seen


def test_verify_on_both_without_options_asks_each_part_for_a_hundredth(both_server: SmallServer):
    answer = both_server.client().verify_jointly("ada", sample(1, 5), sample(1, 6))
    assert (answer.require, answer.max_fmr, answer.max_fmr_each) == ("both", 1e-3, 1e-2)
    assert {part.max_fmr for part in answer.parts.values()} == {1e-2}
    assert answer.threshold == pytest.approx(math.tanh(0.0), abs=1e-9)


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("voice", {"require": "both"}),
        ("voice", {"require": "sum"}),
        ("voice", {"max_fmr_each": "0.01"}),
        ("voice+face", {"require": "either"}),
        ("voice+face", {"max_fmr_each": "0"}),
        ("voice+face", {"max_fmr_each": "1"}),
        ("voice+face", {"require": "sum", "max_fmr_each": "0.01"}),
    ],
)
def test_verify_with_a_rule_that_does_not_apply_is_an_invalid_field(
    both_server: SmallServer, model: str, fields: dict[str, str]
):
    names = ["file"] if model == "voice" else ["voice_file", "face_file"]
    answer = requests.post(
        f"{both_server.url}/v1/verify",
        data={"model": model, "subject_id": "ada", **fields},
        files=[(name, ("a", sample(1))) for name in names],
        timeout=20,
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert list(fields)[-1] in answer.json()["detail"]


def test_openapi_of_verify_describes_the_rule(both_server: SmallServer):
    found = requests.get(f"{both_server.url}/openapi.json", timeout=20).json()
    form = found["paths"]["/v1/verify"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert (form["properties"]["require"]["enum"], form["properties"]["require"]["default"]) == (
        ["both", "sum"],
        "both",
    )
    assert form["properties"]["max_fmr_each"]["default"] == 1e-2
    answered = found["components"]["schemas"]["FusedVerifyAnswer"]
    assert {"require", "max_fmr_each", "parts"} <= set(answered["required"])


def pair_that(sum_passes: bool, voice_passes: bool, face_passes: bool) -> tuple[int, int]:
    """People whose probes give this against ada's references at a floor of 1e-2."""
    for voice_of, face_of in PROBES:
        found = expected_parts(voice_of, face_of)
        if (fused_ratio(found) >= 0.0, found["voice"] >= 0.8, found["face"] >= 0.8) == (
            sum_passes,
            voice_passes,
            face_passes,
        ):
            return voice_of, face_of
    raise AssertionError("nobody gives this")


def run_verify(server: SmallServer, folder: Path, people: tuple[int, int], *options: str) -> tuple[int, str]:
    (folder / "v.wav").write_bytes(sample(people[0], 5))
    (folder / "f.wav").write_bytes(sample(people[1], 6))
    arguments = ["verify", "ada", str(folder / "v.wav"), "--with-face", str(folder / "f.wav"), "--url", server.url]
    done = CliRunner().invoke(app, [*arguments, *options])
    return done.exit_code, done.output


def test_command_verify_with_face_says_which_part_failed(both_server: SmallServer, tmp_path: Path):
    people = pair_that(sum_passes=True, voice_passes=True, face_passes=False)
    status, output = run_verify(both_server, tmp_path, people)
    assert status == 1
    assert re.search(r"voice\s+│ yes\s+│ [01]\.\d{3}\s+│ 0\.800 ", output), output
    assert re.search(r"face\s+│ no\s+│ 0\.\d{3}\s+│ 0\.800 ", output), output
    assert "require both: failed: face (each at max FMR 0.01)" in output
    status, output = run_verify(both_server, tmp_path, people, "--require", "sum")
    assert status == 0
    assert "require sum: the sum of both passes, though" in output
    assert "face" in output.split("though")[1]


def test_command_verify_with_face_takes_the_floor(both_server: SmallServer, tmp_path: Path):
    own = (1, 1)
    status, output = run_verify(both_server, tmp_path, own)
    assert status == 0
    assert "each part and the sum of both pass" in output
    status, output = run_verify(both_server, tmp_path, own, "--max-fmr-each", "1e-12", "--json")
    answer = json.loads(output)
    assert (status, answer["match"], answer["max_fmr_each"]) == (1, False, 1e-12)
    assert answer["similarity"] >= answer["threshold"]


def test_command_verify_with_a_rule_for_one_model_is_refused(both_server: SmallServer, tmp_path: Path):
    (tmp_path / "v.wav").write_bytes(sample(1))
    for option in (["--require", "both"], ["--max-fmr-each", "0.01"]):
        done = CliRunner().invoke(app, ["verify", "ada", str(tmp_path / "v.wav"), *option, "--url", both_server.url])
        assert done.exit_code == 2
        assert "belong to --with-face" in done.output


def test_verify_on_both_with_an_unknown_rule_reaches_the_client_as_a_refusal(both_server: SmallServer):
    with pytest.raises(RequestFailedError) as refused:
        both_server.client().verify_jointly("ada", sample(1), sample(1), require="any")
    assert (refused.value.status, refused.value.code) == (422, "invalid_field")


@dataclasses.dataclass
class EnrollingReader:
    """A reader while whose first read somebody else enrols: the change comes between the parts of one request."""

    inner: Reader[FaceOptions]
    enrol: list[Verifier]

    def read(self, data: bytes, options: FaceOptions) -> list[Observation]:
        while self.enrol:
            self.enrol.pop().enroll(TENANT, "voice", "ada", [sample(9), sample(9, 1)])
        return self.inner.read(data, options)


def test_verify_on_both_when_the_subject_changes_meanwhile_uses_the_count_of_what_it_compared(tmp_path: Path):
    settings = write_models(tmp_path)
    opened = {bundle.manifest.name: open_model(bundle, settings) for bundle in read_bundles(settings.models_dir)}
    waiting: list[Verifier] = []
    changing = dataclasses.replace(opened["face"], reader=EnrollingReader(opened["face"].reader, waiting))
    with contextlib.ExitStack() as stack:
        for model in opened.values():
            stack.callback(model.close)
        store = stack.enter_context(opened_store(f"sqlite:///{tmp_path}/store"))
        verifier = Verifier([opened["voice"], changing], store, list(read_fusions(settings.models_dir).values()))
        stack.callback(verifier.close)
        verifier.load()
        for name in SEEDS:
            verifier.enroll(TENANT, name, "ada", [sample(1)])
        waiting.append(verifier)  # from here on, the next face that is read finds the voice enrolled again
        probes = {"voice": sample(2, 5), "face": sample(1, 6)}
        found = verifier.verify_jointly(TENANT, "voice+face", "ada", probes, 1e-3, 1e-2)
        assert store.reference(TENANT, "ada", "voice", VERSION).template_count == 3
    assert found.parts["voice"].template_count == 1
    similarities = {name: part.decision.similarity for name, part in found.parts.items()}
    assert similarities == pytest.approx(expected_parts(2, 1), abs=5e-5)
    # both the similarity and its calibration are those of the one template that was compared
    assert 2 * math.atanh(found.fused.similarity) == pytest.approx(fused_ratio(similarities, "1"), abs=1e-6)
