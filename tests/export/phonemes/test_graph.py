"""The graph of a head: whole clips of any length, and the posteriors that torch computes."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from matchka.inference.session import OrtSession
from matchka_export.gate.parity import require_parity
from matchka_export.phonemes.graph import (
    LOG_POSTERIORS,
    ClipsToPosteriors,
    clip_spec,
    export_posteriors,
    proven_clips,
)
from matchka_train.backbones.frames.encoder import ClipInput
from matchka_train.backbones.frames.log_mel import LogMelFrames
from matchka_train.heads.phones.head import EncoderShape, PhoneHead
from matchka_train.heads.phones.recipe import ConvolutionContextRecipe, HeadRecipe

pytestmark = pytest.mark.slow  # tracing a network takes seconds

BANDS = (8, 6)  # of two front ends that differ in their bands alone
CLASSES = 5


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graph") / "model.onnx"


@pytest.fixture(scope="module")
def exported(path: Path) -> tuple[ClipsToPosteriors, OrtSession]:
    torch.manual_seed(0)
    context = ConvolutionContextRecipe(kind="convolution", width=4, layers=1)
    head = PhoneHead(HeadRecipe(context=context), [EncoderShape(1, 3 * bands) for bands in BANDS], CLASSES)
    model = ClipsToPosteriors([LogMelFrames(bands, 3) for bands in BANDS], head.eval())
    spec = clip_spec(ClipInput())
    export_posteriors(model, spec, path)
    given = spec.graph_input()
    return model, OrtSession(path, given.name, given.shape, {LOG_POSTERIORS: (None, CLASSES)}, threads=1)


def test_exported_graph_equals_torch_at_every_length(exported: tuple[ClipsToPosteriors, OrtSession]) -> None:
    model, session = exported
    assert require_parity(model, session, proven_clips(clip_spec(ClipInput()))) < 1e-4


def test_exported_graph_of_digital_silence_is_finite_and_normalised(
    exported: tuple[ClipsToPosteriors, OrtSession],
) -> None:
    """The floor below the logarithm is a small number, which an optimiser may take for none."""
    posteriors = exported[1].run(np.zeros((1, 16_000), np.float32))[LOG_POSTERIORS]
    assert posteriors.shape == (1, 33, CLASSES)
    assert np.exp(posteriors.astype(np.float64)).sum(axis=2) == pytest.approx(1.0, abs=1e-5)


def test_exported_graph_gives_a_clip_the_same_alone_and_in_company(
    exported: tuple[ClipsToPosteriors, OrtSession],
) -> None:
    clips = next(proven_clips(clip_spec(ClipInput())))
    together = exported[1].run(clips)[LOG_POSTERIORS]
    alone = [exported[1].run(clip[None])[LOG_POSTERIORS][0] for clip in clips]
    assert np.abs(together - np.stack(alone)).max() < 1e-5


@pytest.mark.usefixtures("exported")
def test_exported_graph_of_two_front_ends_transforms_a_clip_once(path: Path) -> None:
    graph = onnx.load(str(path)).graph
    known = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    transforms = [known[node.input[1]] for node in graph.node if node.op_type == "Conv"]
    assert transforms.count([402, 1, 400]) == 1  # real and imaginary parts of 201 bins of 400 samples
    assert sum(dims == [402, 1, 400] for dims in known.values()) == 1
