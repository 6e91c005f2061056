"""The default bundle of phonemes, built from what this repository ships; it needs the pinned weights."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from matchka.bundles.bundle import read_bundle
from matchka.bundles.outputs.phoneme_posteriors import PhonemePosteriorsOutput
from matchka.inference.session import OrtSession
from matchka.modalities.audio.example import speech_like
from matchka.phrases.lexicon import Lexicon, read_vocabulary
from matchka_export.defaults.catalogue import DEFAULT_MODELS
from matchka_export.defaults.shipped import current_bundle, shipped_evidence
from matchka_export.errors import EvidenceError, GateError
from matchka_export.phonemes.assemble import assemble_phonemes
from matchka_export.phonemes.evidence import read_phoneme_evidence, write_phoneme_evidence
from matchka_export.phonemes.vocabulary import candidate_words
from tests.factories.bundles import digest_of
from tests.factories.checkout import ROOT

pytestmark = pytest.mark.slow

DOWNLOADS = ROOT / "build" / "downloads"
QUIET = Console(quiet=True)


def test_phonemes_bundle_when_done_holds_the_shipped_measurements_and_the_words(phonemes: Path) -> None:
    manifest = read_bundle(phonemes).manifest
    output = manifest.output(PhonemePosteriorsOutput)
    evidence = read_phoneme_evidence(shipped_evidence("phonemes"))
    assert output.phrase_points == evidence.phrase_points
    assert output.metrics == evidence.metrics
    assert (output.heard, output.accuracy) == (evidence.heard, evidence.accuracy)
    assert output.least_kurtosis == evidence.least_kurtosis == 2.0
    assert manifest.projection.sha256 == hashlib.sha256(DEFAULT_MODELS["phonemes"].fitted.read_bytes()).hexdigest()
    words = read_vocabulary((phonemes / output.vocabulary).read_text())
    lexicon = Lexicon.parse((phonemes / output.lexicon).read_text(), output.phones)
    assert len(words) == 1024
    assert all(2 <= len(way) <= 12 for word in words[::100] for way in lexicon.pronunciations([word])[0])
    assert manifest.input.graph_input().shape == (None,)


def test_phonemes_bundle_when_reading_made_clips_gives_log_probabilities_of_each_frame(phonemes: Path) -> None:
    session = OrtSession(phonemes / "model.onnx", "clips", (None,), {"log_posteriors": (None, 40)}, threads=1)
    for samples in (9_601, 64_000):
        found = session.run(speech_like(samples, 16_000, seed=1)[None])["log_posteriors"]
        assert found.shape == (1, (1 + samples // 160) // 3, 40)
        assert np.exp(found.astype(np.float64)).sum(axis=2) == pytest.approx(1.0, abs=1e-4)


def test_current_bundle_of_phonemes_is_current_until_a_word_changes(phonemes: Path, tmp_path: Path) -> None:
    copy = tmp_path / "phonemes"
    shutil.copytree(phonemes, copy)
    assert current_bundle(copy, "phonemes") is not None
    with (copy / "vocabulary.txt").open("a") as file:
        file.write("zebra\n")
    assert current_bundle(copy, "phonemes") is None


@pytest.mark.parametrize(("word", "is_current"), [("tournaments", False), ("rethinking", False), (None, True)])
def test_current_bundle_of_phonemes_is_current_where_every_word_is_a_candidate(
    phonemes: Path, tmp_path: Path, word: str | None, is_current: bool
) -> None:
    copy = tmp_path / "phonemes"
    shutil.copytree(phonemes, copy)
    words = read_vocabulary((copy / "vocabulary.txt").read_text())
    other = word or next(one for one in candidate_words() if one not in words)
    changed = "".join(f"{other if one == 'tournament' else one}\n" for one in words)
    (copy / "vocabulary.txt").write_text(changed)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["vocabulary.txt"] = hashlib.sha256(changed.encode()).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(manifest | {"content_digest": digest_of(manifest)}))
    read_bundle(copy)  # it checks out
    assert (current_bundle(copy, "phonemes") is not None) is is_current


def test_shipped_evidence_of_phonemes_passed_the_gate_on_people_who_chose_nothing() -> None:
    evidence = json.loads(shipped_evidence("phonemes").read_text())
    for name, at in evidence["gate"].items():
        assert at["verdict"] == "passed", name
        assert at["upper"] < 0
        assert at["speakers"] == 60
    assert evidence["other_microphones"]["best"] == evidence["other_microphones"]["clips"] == 11
    assert evidence["parity"] <= 1e-4


@pytest.mark.parametrize(
    ("changed", "error"), [({"head_sha256": "0" * 64}, EvidenceError), ({"blank_share": 0.99}, GateError)]
)
def test_assemble_phonemes_with_measurements_that_do_not_belong_or_pass_writes_nothing(
    changed: dict[str, object], error: type[Exception], tmp_path: Path
) -> None:
    evidence = read_phoneme_evidence(shipped_evidence("phonemes")).model_copy(update=changed)
    write_phoneme_evidence(tmp_path / "other.json", evidence)
    with pytest.raises(error):
        assemble_phonemes(
            tmp_path / "m" / "phonemes", DEFAULT_MODELS["phonemes"].fitted, tmp_path / "other.json", DOWNLOADS, QUIET
        )
    assert not (tmp_path / "m").exists()
