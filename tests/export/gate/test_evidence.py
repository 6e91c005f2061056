"""Measurements are refused beside files they are not of."""

from pathlib import Path

import pytest

from matchka.bundles.outputs.measurements import DimReport
from matchka_export.errors import EvidenceError, GateError
from matchka_export.gate.evidence import (
    Evidence,
    read_evidence,
    require_belongs,
    require_measured_pass,
    write_evidence,
)
from tests.factories.bundles import dim_report


@pytest.fixture
def evidence() -> Evidence:
    return Evidence(
        backbone_sha256="b" * 64,
        projection_sha256="c" * 64,
        family="rotation",
        float16=False,
        parity=1e-6,
        full_dim=8,
        dims=(8,),
        per_dim={"8": DimReport.model_validate(dim_report())},
        datasets=(),
        commands=("matchka-export measure build/training/toy",),
        libraries={"torch": "2"},
    )


def test_read_evidence_when_written_returns_the_same(evidence: Evidence, tmp_path: Path) -> None:
    write_evidence(tmp_path / "toy.json", evidence)
    assert read_evidence(tmp_path / "toy.json") == evidence
    assert [path.name for path in tmp_path.iterdir()] == ["toy.json"]


def test_require_belongs_when_files_are_the_measured_ones_accepts(evidence: Evidence) -> None:
    require_belongs(evidence, "b" * 64, "c" * 64)


@pytest.mark.parametrize(("backbone", "projection", "named"), [("d", "c", "backbone"), ("b", "d", "projection")])
def test_require_belongs_when_a_file_is_another_names_it(
    evidence: Evidence, backbone: str, projection: str, named: str
) -> None:
    with pytest.raises(EvidenceError, match=named):
        require_belongs(evidence, backbone * 64, projection * 64)


def test_require_measured_pass_when_every_domain_passed_accepts(evidence: Evidence) -> None:
    require_measured_pass(with_verdict(evidence, "passed"))


def test_require_measured_pass_when_a_dim_was_refused_names_it(evidence: Evidence) -> None:
    with pytest.raises(GateError, match="made-up at dim 8"):
        require_measured_pass(with_verdict(evidence, "refused"))


def test_require_measured_pass_when_nothing_was_judged_refuses(evidence: Evidence) -> None:
    with pytest.raises(GateError, match="did not judge"):
        require_measured_pass(evidence)


def with_verdict(evidence: Evidence, verdict: str) -> Evidence:
    comparison = {
        "reference": "frozen backbone",
        "unit": "subject",
        "eer": 0.1,
        "reference_eer": 0.1,
        "upper": 0.02,
        "margin": 0.015,
        "subjects": 60,
        "mated_pairs": 400,
        "confidence": 0.95,
        "resamples": 500,
        "verdict": verdict,
    }
    per_dim = {"8": DimReport.model_validate(dim_report() | {"gate": {"made-up": comparison}})}
    return evidence.model_copy(update={"per_dim": per_dim})


@pytest.mark.parametrize("content", ["", "{}", '{"format": "matchka-evidence-2"}', "\udcff"])
def test_read_evidence_when_file_is_no_evidence_refuses(content: str, tmp_path: Path) -> None:
    (tmp_path / "toy.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(EvidenceError, match="measure"):
        read_evidence(tmp_path / "toy.json")


def test_read_evidence_when_file_is_absent_refuses(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError):
        read_evidence(tmp_path / "toy.json")
