"""An 8-bit graph in a bundle's folder: written where it is right and fast, left out with a reason where it is not."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from matchka.bundles.variant import Interchange, InterchangeRates
from matchka_export.errors import EvidenceError, QuantisationError
from matchka_export.quantised.evidence import (
    QuantisedEvidence,
    read_quantised,
    require_quantised_of,
    write_quantised,
)
from matchka_export.quantised.files import EXAMPLES_NAME, INT8_NAME, quantised_path
from matchka_export.quantised.quantiser import ConvolutionalQuantiser, RecurrentQuantiser, fit_quantiser
from matchka_export.quantised.write import GraphForm, write_variant
from tests.factories.toy_backbone import TOY_INPUT

RATES = InterchangeRates(
    eer=0.05, mixed_eer=0.05, mixed_upper=0.001, variant_eer=0.05, variant_upper=0.001, fmr_ratio=None
)
FOUND = Interchange(subjects=60, mated_pairs=600, least_cosine=0.999, per_dim={"8": RATES})


def evidence(quantiser: RecurrentQuantiser | ConvolutionalQuantiser) -> QuantisedEvidence:
    return QuantisedEvidence(
        backbone_sha256="1" * 64,
        projection_sha256="2" * 64,
        quantiser=quantiser,
        calibrated_on="nobody",
        interchange={"made-up": FOUND},
        speed=1.6,
        measured_on="a made-up CPU",
        command="none",
        libraries={},
    )


def test_evidence_when_written_is_read_back(tmp_path: Path) -> None:
    written = evidence(ConvolutionalQuantiser(ranges={"Conv 0": (-1.5, 2.25)}))
    write_quantised(tmp_path / "voice.int8.json", written)
    assert quantised_path(tmp_path / "voice.json") == tmp_path / "voice.int8.json"
    assert read_quantised(tmp_path / "voice.int8.json") == written


@pytest.mark.parametrize("content", ["", "{}", '{"format": "matchka-quantised-2"}'])
def test_evidence_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "int8.json").write_text(content)
    with pytest.raises(EvidenceError, match="cannot be read"):
        read_quantised(tmp_path / "int8.json")


@pytest.mark.parametrize("other", [("3" * 64, "2" * 64), ("1" * 64, "3" * 64)])
def test_evidence_of_another_backbone_or_projection_is_refused(other: tuple[str, str]) -> None:
    found = evidence(RecurrentQuantiser())
    require_quantised_of(found, "1" * 64, "2" * 64)
    with pytest.raises(EvidenceError, match="of another backbone or projection"):
        require_quantised_of(found, *other)


def test_fit_of_a_graph_that_nothing_is_known_of_is_refused() -> None:
    with pytest.raises(QuantisationError, match="Nothing is known of how to write this graph in 8 bits"):
        fit_quantiser(onnx.ModelProto(), np.zeros((1, 2), np.float32))


def test_write_of_a_variant_that_cannot_be_written_leaves_nothing_and_says_why(toy_graph: Path, tmp_path: Path) -> None:
    form = GraphForm(TOY_INPUT, 8, {})
    written = write_variant(tmp_path, toy_graph, form, evidence(RecurrentQuantiser()), TOY_INPUT.example(6, seed=0))
    assert written.variant is None
    assert written.refusal == "Only LSTM layers that stand on another one become 8-bit ones."
    assert not list(tmp_path.iterdir())
    assert not (tmp_path / INT8_NAME).exists()
    assert not (tmp_path / EXAMPLES_NAME).exists()
