"""The graphs beside the one that embeds: written as their makers published them, or traced and proven."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from matchka.bundles.manifest import AuxiliaryPart, Source
from matchka.modalities.modality import GraphInput, InputSpec
from matchka_export.errors import ParityError
from matchka_export.gate.auxiliary import write_auxiliary
from matchka_train.backbones.auxiliary import TracedNetwork
from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.face.dlib import DlibFace
from matchka_train.backbones.served_graph import GraphFiles
from matchka_train.backbones.speaker.ge2e import GE2E_INPUT, Ge2e
from matchka_train.errors import DownloadError
from matchka_train.weights.source import WeightSource
from tests.factories.checkout import ROOT
from tests.factories.tiny_backbone import TinyBackbone

DOWNLOADS = ROOT / "build" / "downloads"
SOURCE = WeightSource("doubler", "tests", "1", "0" * 64, "Apache-2.0")


class Doubler(torch.nn.Module):
    """Twice its input; adds to it while it runs in torch, where `lies` is set, and not in the graph."""

    def __init__(self, lies: float = 0.0) -> None:
        super().__init__()
        self.lies = lies

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return 2.0 * rows + (0.0 if torch.compiler.is_exporting() else self.lies)


@dataclass(frozen=True)
class Part:
    network: Doubler
    name: str = "doubler"
    kind: str = "toy"
    sha256: str = "2" * 64

    @property
    def sources(self) -> dict[str, WeightSource]:
        return {"doubler.onnx": SOURCE}

    def open(self) -> tuple[()]:
        return ()

    def graphs(self) -> Mapping[str, TracedNetwork | bytes]:
        spec = GraphInput("numbers", (4,), "float32")
        return {"doubler.onnx": TracedNetwork(self.network, spec, ("doubled",), ((4,), (7,)), (1,)), "as_is.onnx": b"?"}


@dataclass(frozen=True)
class WithPart(TinyBackbone):
    auxiliary: tuple[Part | GraphFiles, ...] = ()


def test_write_auxiliary_of_a_part_writes_its_graphs_and_names_it(tmp_path: Path) -> None:
    found = write_auxiliary(WithPart(auxiliary=(Part(Doubler()),)), tmp_path, DOWNLOADS)
    sources = {"doubler.onnx": Source(**asdict(SOURCE))}
    assert found == {"doubler": AuxiliaryPart(kind="toy", sources=sources)}
    session = onnxruntime.InferenceSession(tmp_path / "doubler.onnx", providers=["CPUExecutionProvider"])
    rows = np.arange(10, dtype=np.float32).reshape(2, 5)  # neither the sizes traced nor those proven
    np.testing.assert_array_equal(session.run(["doubled"], {"numbers": rows})[0], 2 * rows)
    assert (tmp_path / "as_is.onnx").read_bytes() == b"?"


@pytest.mark.parametrize("lie", [2e-4, float("nan")])
def test_write_auxiliary_when_a_graph_differs_from_torch_refuses(lie: float, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"doubler\.onnx may differ from torch by 0\.0001"):
        write_auxiliary(WithPart(auxiliary=(Part(Doubler(lie)),)), tmp_path, DOWNLOADS)


def test_write_auxiliary_of_a_part_that_names_no_networks_refuses(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="The detector of this backbone cannot be exported"):
        write_auxiliary(WithPart(auxiliary=(GraphFiles("detector", ()),)), tmp_path, DOWNLOADS)


def test_write_auxiliary_for_voices_at_16_khz_writes_the_pinned_detector_of_speech(tmp_path: Path) -> None:
    try:
        found = write_auxiliary(Ge2e(DOWNLOADS), tmp_path, DOWNLOADS)
    except DownloadError as error:
        pytest.skip(f"the detector of speech is neither in the cache nor to be fetched: {error}")
    part = found["speech_activity"]
    (source,) = part.sources.values()
    assert hashlib.sha256((tmp_path / "speech.onnx").read_bytes()).hexdigest() == source.sha256
    assert (part.kind, source.licence) == ("silero", "MIT")


def test_write_auxiliary_for_clips_that_the_detector_of_speech_does_not_take_fetches_nothing(tmp_path: Path) -> None:
    spec: InputSpec = GE2E_INPUT.model_copy(update={"sample_rate_hz": 8000})
    backbone: Backbone = replace(Ge2e(), input=spec)
    assert write_auxiliary(backbone, tmp_path / "bundle", tmp_path / "downloads") == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_write_auxiliary_for_faces_writes_the_three_networks_of_the_detector(tmp_path: Path) -> None:
    try:
        found = write_auxiliary(DlibFace(DOWNLOADS), tmp_path, DOWNLOADS)
    except DownloadError as error:
        pytest.skip(f"the detector's weights are neither in the cache nor to be fetched: {error}")
    assert list(found) == ["detector"]
    assert sorted(found["detector"].sources) == sorted(path.name for path in tmp_path.iterdir())
    assert {source.licence for source in found["detector"].sources.values()} == {"MIT"}
