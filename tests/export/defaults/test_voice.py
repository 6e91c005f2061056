"""The default bundle, built from what this repository ships; it needs the pinned weights."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from matchka.bundles.bundle import read_bundle
from matchka.bundles.outputs.scoring import RatioScale, TwoCovarianceScoring
from matchka.bundles.scorers import open_scorer
from matchka.inference.session import OrtSession
from matchka.modalities.audio.example import speech_like
from matchka.modalities.audio.windows import split_windows
from matchka.vectors import mean_by_group, truncate_and_normalise
from matchka_export.defaults.assemble import assemble
from matchka_export.defaults.catalogue import DEFAULT_MODELS, EMBEDDING_MODELS
from matchka_export.defaults.shipped import current_bundle, shipped_evidence
from matchka_export.errors import EvidenceError, GateError
from matchka_export.gate.evidence import read_evidence, write_evidence
from matchka_train.backbones.speaker.ge2e import GE2E_INPUT
from matchka_train.errors import DownloadError
from matchka_train.projections.storage import load_projection
from tests.factories.bundles import digest_of
from tests.factories.checkout import ROOT

pytestmark = pytest.mark.slow

DOWNLOADS = ROOT / "build" / "downloads"
QUIET = Console(quiet=True)
FROZEN = Path(__file__).with_name("voice_embedding.json")


def build(name: str, target: Path, evidence: Path, samples: Path) -> None:
    (model,) = (model for model in EMBEDDING_MODELS if model.name == name)
    assemble(target, model.open_backbone(DOWNLOADS), model.fitted, evidence, DOWNLOADS, samples, QUIET)


@pytest.fixture(scope="module")
def voice(models: Path) -> Path:
    try:
        build("voice", models / "voice", shipped_evidence("voice"), Path("no-recordings"))
    except DownloadError as error:
        pytest.skip(f"the GE2E weights are neither in the cache nor to be fetched: {error}")
    return models / "voice"


def test_voice_bundle_when_done_holds_the_shipped_measurements(voice: Path) -> None:
    manifest = json.loads((voice / "manifest.json").read_text())
    evidence = json.loads(shipped_evidence("voice").read_text())
    assert manifest["outputs"]["embeddings"]["per_dim"] == evidence["per_dim"]
    assert manifest["projection"]["sha256"] == hashlib.sha256(DEFAULT_MODELS["voice"].fitted.read_bytes()).hexdigest()
    assert manifest["outputs"]["embeddings"]["dims"] == [16, 32, 64, 128, 256]
    assert {dataset["licence"] for dataset in manifest["datasets"]} == {"CC-BY-4.0"}


def test_voice_bundle_when_done_holds_the_pinned_detector_of_speech_and_says_whose_it_is(
    voice: Path,
) -> None:
    manifest = json.loads((voice / "manifest.json").read_text())
    digest = hashlib.sha256((voice / "speech.onnx").read_bytes()).hexdigest()
    source = manifest["auxiliary"]["speech_activity"]["sources"]["speech.onnx"]
    assert manifest["files"]["speech.onnx"] == source["sha256"] == digest
    assert (source["version"], source["licence"]) == ("6.2.3", "MIT")
    assert "silero-vad" in source["source"]


def test_current_bundle_when_it_has_no_detector_of_speech_is_not_current(voice: Path, tmp_path: Path) -> None:
    copy = tmp_path / "voice"
    shutil.copytree(voice, copy)
    (copy / "speech.onnx").unlink()
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["auxiliary"]["speech_activity"], manifest["files"]["speech.onnx"]
    manifest["content_digest"] = digest_of(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert read_bundle(copy).manifest.auxiliary == {}  # as they were before: still read
    assert current_bundle(copy, "voice") is None


def test_current_bundle_when_its_manifest_is_of_schema_1_is_built_again_under_the_same_version(
    voice: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "voice"
    shutil.copytree(voice, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    (speech,) = manifest.pop("auxiliary")["speech_activity"]["sources"].values()
    del manifest["content_digest"]
    manifest |= manifest.pop("outputs")["embeddings"]
    del manifest["scorer"]  # schema 1 knew the cosine only
    manifest |= {"schema_version": 1, "output": {"kind": manifest.pop("kind")}, "detector": None}
    manifest["speech_activity"] = {"kind": "silero", "source": speech}
    (copy / "manifest.json").write_text(json.dumps(manifest))


def test_voice_bundle_when_embedding_a_known_clip_gives_the_frozen_embedding(voice: Path) -> None:
    """If this fails because the front end was changed on purpose, raise BASE_VERSION and freeze anew."""
    frozen = json.loads(FROZEN.read_text())
    windows = split_windows(speech_like(70_003, 16_000, seed=70_003), GE2E_INPUT)
    session = OrtSession(voice / "model.onnx", "windows", (25_840,), {"embeddings": (256,)}, threads=1)
    embedding = truncate_and_normalise(mean_by_group(session.run(windows)["embeddings"], [len(windows)]), 256)[0]
    assert json.loads((voice / "manifest.json").read_text())["version"] == frozen["version"]
    np.testing.assert_allclose(embedding, np.array(frozen["embedding"]), atol=1e-4)


def test_shipped_evidence_when_read_passed_the_gate_in_every_domain() -> None:
    evidence = json.loads(shipped_evidence("voice").read_text())
    full = evidence["per_dim"]["256"]
    assert set(full["gate"]) == set(full["metrics"]) == {"read-english", "audiobooks"}
    for dim, report in evidence["per_dim"].items():
        for domain, result in report["gate"].items():
            assert result["verdict"] == "passed", (dim, domain)
            assert result["upper"] < result["margin"], (dim, domain)
            assert result["eer"] == pytest.approx(report["metrics"][domain]["eer"])
    for domain, result in full["gate"].items():  # at shorter dims the backbone is truncated
        assert result["reference_eer"] == pytest.approx(full["backbone_metrics"][domain]["eer"])


def test_shipped_projection_when_loaded_is_of_this_backbone_and_has_full_rank() -> None:
    module, info = load_projection(DEFAULT_MODELS["voice"].fitted)
    assert info.backbone_sha256 == "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
    assert np.linalg.matrix_rank(module.state_dict()["weight"].numpy()) == 256


def test_current_bundle_when_built_from_what_is_shipped_is_current_until_a_byte_changes(
    voice: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "voice"
    shutil.copytree(voice, copy)
    assert current_bundle(copy, "voice") is not None
    with (copy / "model.onnx").open("ab") as file:
        file.write(b"\0")
    assert current_bundle(copy, "voice") is None
    assert current_bundle(tmp_path / "absent", "voice") is None


def test_current_bundle_when_its_scorer_is_another_than_was_measured_is_not_current(
    voice: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "voice"
    shutil.copytree(voice, copy)
    np.savez(copy / "scorer.npz", within=np.eye(256, dtype="<f4"), between=np.eye(256, dtype="<f4"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["scorer.npz"] = hashlib.sha256((copy / "scorer.npz").read_bytes()).hexdigest()
    manifest["content_digest"] = digest_of(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert read_bundle(copy).manifest.version == read_bundle(voice).manifest.version  # a bundle, of the same embeddings
    assert current_bundle(copy, "voice") is None


def test_assemble_when_evidence_is_of_another_projection_writes_nothing(tmp_path: Path) -> None:
    evidence = read_evidence(shipped_evidence("voice")).model_copy(update={"projection_sha256": "0" * 64})
    write_evidence(tmp_path / "other.json", evidence)
    with pytest.raises(EvidenceError, match="projection"):
        build("voice", tmp_path / "m" / "voice", tmp_path / "other.json", tmp_path)
    assert not (tmp_path / "m").exists()


def two_covariances(scorer_sha256: str) -> dict[str, object]:
    """What measurements with a scorer hold beyond those without."""
    per_dim = {str(dim): RatioScale(scale=1.0, slope=0.01, offset=0.3) for dim in (16, 32, 64, 128, 256)}
    scoring = TwoCovarianceScoring(
        file="scorer.npz",
        within_shrinkage=0.8,
        between_shrinkage=0.5,
        row_noise=1.0,
        mean_inverse_rows=0.3,
        least_rows=3,
        per_dim=per_dim,
    )
    return {"scorer": scoring, "scorer_sha256": {"scorer.npz": scorer_sha256}}


def test_assemble_with_a_scorer_puts_the_file_beside_the_measurements_into_the_bundle(
    voice: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "own.scorer.npz", within=np.eye(256, dtype="<f4"), between=np.eye(256, dtype="<f4"))
    sha256 = hashlib.sha256((tmp_path / "own.scorer.npz").read_bytes()).hexdigest()
    evidence = read_evidence(shipped_evidence("voice")).model_copy(update=two_covariances(sha256))
    write_evidence(tmp_path / "own.json", evidence)
    build("voice", tmp_path / "m" / "voice", tmp_path / "own.json", tmp_path / "no-recordings")
    bundle = read_bundle(tmp_path / "m" / "voice")
    assert bundle.manifest.files["scorer.npz"] == sha256
    assert not open_scorer(bundle.path, bundle.manifest).is_cosine
    assert bundle.manifest.version == read_bundle(voice).manifest.version  # the same embeddings


@pytest.mark.parametrize("is_there", [True, False], ids=["another file", "no file"])
def test_assemble_without_the_measured_scorer_writes_nothing(tmp_path: Path, is_there: bool) -> None:
    if is_there:
        (tmp_path / "own.scorer.npz").write_bytes(b"another")
    evidence = read_evidence(shipped_evidence("voice")).model_copy(update=two_covariances("0" * 64))
    write_evidence(tmp_path / "own.json", evidence)
    with pytest.raises(EvidenceError, match="are of the scorer"):
        build("voice", tmp_path / "m" / "voice", tmp_path / "own.json", tmp_path)
    assert not (tmp_path / "m").exists()


def test_assemble_when_dims_were_measured_that_were_not_fitted_writes_nothing(
    tmp_path: Path,
) -> None:
    evidence = read_evidence(shipped_evidence("voice")).model_copy(update={"dims": (256,)})
    write_evidence(tmp_path / "other.json", evidence)
    with pytest.raises(EvidenceError, match="dims"):
        build("voice", tmp_path / "m" / "voice", tmp_path / "other.json", tmp_path)
    assert not (tmp_path / "m").exists()


def test_assemble_when_evidence_says_worse_writes_nothing(tmp_path: Path) -> None:
    evidence = read_evidence(shipped_evidence("voice"))
    full = evidence.per_dim["256"]
    refused = full.gate["audiobooks"].model_copy(update={"verdict": "refused"})
    worse = full.model_copy(update={"gate": full.gate | {"audiobooks": refused}})
    write_evidence(tmp_path / "worse.json", evidence.model_copy(update={"per_dim": evidence.per_dim | {"256": worse}}))
    with pytest.raises(GateError, match="audiobooks"):
        build("voice", tmp_path / "m" / "voice", tmp_path / "worse.json", tmp_path)
    assert not (tmp_path / "m").exists()


def test_command_defaults_when_weights_cannot_be_fetched_says_so_and_exits_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "matchka_export", "defaults", "--models-dir", "m", "--downloads-dir", "d"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PIP_NO_INDEX": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Resemblyzer" in done.stderr
    assert "PIP_INDEX_URL" in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_command_defaults_when_bundles_are_current_needs_no_torch(
    voice: Path, face: Path, radio: Path, phonemes: Path, equalizer: Path
) -> None:
    """A stand-in torch that raises on import: a current bundle must be found without it."""
    assert face.parent == radio.parent == phonemes.parent == equalizer.parent == voice.parent
    trap = voice.parent.parent / "trap"
    trap.mkdir(exist_ok=True)
    (trap / "torch.py").write_text("raise AssertionError('torch was imported')")
    done = subprocess.run(
        [sys.executable, "-m", "matchka_export", "defaults", "--models-dir", str(voice.parent)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{trap}:{ROOT}", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "checks out" in done.stderr
