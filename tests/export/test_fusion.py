"""The shipped fusion belongs to the shipped models, decides as the service does, and is never installed for others."""

import hashlib
import json
import math
from pathlib import Path

import pytest

from matchka.bundles.bundle import Bundle, read_bundle
from matchka.bundles.fusion_file import Fusion, read_fusion
from matchka.errors import BundleError
from matchka_export.bundle import BASE_VERSION, content_version
from matchka_export.defaults.shipped import install_fusion, shipped_evidence, shipped_fusion
from matchka_export.fusion import seal_fusion, write_fusion
from matchka_export.gate.evidence import read_evidence
from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.face.dlib import DlibFace
from matchka_train.backbones.speaker.ge2e import Ge2e
from tests.factories.bundles import digest_of


@pytest.mark.parametrize(("name", "backbone"), [("voice", Ge2e()), ("face", DlibFace())])
def test_shipped_fusion_when_read_names_the_versions_and_measurements_of_the_shipped_models(
    name: str, backbone: Backbone
) -> None:
    evidence = read_evidence(shipped_evidence(name))
    version = content_version(BASE_VERSION, backbone, evidence.projection_sha256, evidence.dims, evidence.float16)
    fusion = read_fusion(shipped_fusion())
    assert fusion.models[name] == version, "learn it again with `matchka-export fuse`"
    assert fusion.reports is not None
    measured = hashlib.sha256(shipped_evidence(name).read_bytes()).hexdigest()
    assert fusion.reports[name] == measured, "learn it again with `matchka-export fuse`"


def test_shipped_fusion_when_measured_beats_each_modality_at_every_pair_of_dims() -> None:
    rates = json.loads(shipped_fusion().read_text())["eer"]
    joint = [name for name in rates if "+" in name]
    assert len(joint) == 5
    for name in joint:
        first, second = name.split("+")
        assert rates[name] < 0.5 * min(rates[first], rates[second]), name


def test_shipped_fusion_when_both_ratios_are_even_stays_near_even() -> None:
    fusion = read_fusion(shipped_fusion())
    # the voice's ratio is that of its hardest domain, audiobooks; here, in read English, it says more than it states
    assert abs(fusion.offset) < math.log(4.0)  # between 20 and 80 % at even ratios
    assert all(0.5 < weight < 2.0 for weight in fusion.weights.values())
    thresholds = [point.threshold for point in fusion.operating_points]
    assert thresholds == sorted(thresholds)
    assert all(math.isfinite(value) for value in thresholds)


def test_install_fusion_when_versions_fit_copies_and_when_not_takes_it_away(models_dir: Path, tmp_path: Path) -> None:
    bundles = {name: read_bundle(models_dir / name) for name in ("voice", "face")}
    written = install_fusion(shipped_fusion(), bundles, tmp_path)
    assert written == tmp_path / "voice+face" / "fusion.json"
    assert written.read_bytes() == shipped_fusion().read_bytes()
    other = bundles["face"].manifest.model_copy(update={"version": "2.0.0"})
    assert install_fusion(shipped_fusion(), bundles | {"face": Bundle(tmp_path, other)}, tmp_path) is None
    assert not written.exists()


def test_install_fusion_when_a_bundle_was_measured_anew_takes_it_away(models_dir: Path, tmp_path: Path) -> None:
    bundles = {name: read_bundle(models_dir / name) for name in ("voice", "face")}
    written = install_fusion(shipped_fusion(), bundles, tmp_path)
    assert written is not None
    manifest = bundles["face"].manifest
    anew = manifest.model_copy(update={"files": manifest.files | {"report.json": "0" * 64}})
    assert install_fusion(shipped_fusion(), bundles | {"face": Bundle(tmp_path, anew)}, tmp_path) is None
    assert not written.exists()


def test_install_fusion_when_the_content_is_another_takes_the_signature_away(models_dir: Path, tmp_path: Path) -> None:
    bundles = {name: read_bundle(models_dir / name) for name in ("voice", "face")}
    written = install_fusion(shipped_fusion(), bundles, tmp_path)
    assert written is not None
    signature = written.with_name("signature.json")
    signature.write_text("of this content")
    assert install_fusion(shipped_fusion(), bundles, tmp_path) == written
    assert signature.exists()
    written.write_text("{}")
    assert install_fusion(shipped_fusion(), bundles, tmp_path) == written
    assert not signature.exists()


def test_read_fusion_when_it_is_not_one_refuses(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text("{}")
    with pytest.raises(BundleError, match="cannot be read"):
        read_fusion(tmp_path / "f.json")


def test_seal_fusion_of_what_was_learned_gives_the_digest_of_all_that_it_says() -> None:
    document = json.loads(shipped_fusion().read_text())
    assert document["content_digest"] == digest_of(document)
    learned = Fusion(**document | {"format": "matchka-fusion-1", "content_digest": None, "reports": None})
    assert seal_fusion(learned, document["reports"]) == read_fusion(shipped_fusion())


def test_write_fusion_of_the_shipped_fusion_gives_the_shipped_bytes(tmp_path: Path) -> None:
    write_fusion(tmp_path / "new" / "f.json", read_fusion(shipped_fusion()))
    assert (tmp_path / "new" / "f.json").read_bytes() == shipped_fusion().read_bytes()
