"""A backbone cut in two is the same backbone: what is cached in front of the cut loses nothing."""

import numpy as np
import pytest
import torch

from matchka_train.backbones.face.dlib import DlibResNet
from matchka_train.backbones.face.dlib_file import ConvLayer, DlibWeights
from matchka_train.backbones.speaker.ge2e import GE2E_INPUT, Ge2eEncoder
from matchka_train.experiments.spectra import TunedEncoder, one_row_of_each
from matchka_train.experiments.trunk import DlibTail, low_resolution
from matchka_train.fitting.batches import TrainingClips
from matchka_train.projections.trained.linear import LinearProjection, LinearRecipe
from tests.factories.features import make_features

CHANNELS = [32, 32, 32, 64, 64, 64, 64, 128, 128, 128, 256, 256, 256, 256]  # of each block of the descriptor


@pytest.fixture
def descriptor() -> DlibResNet:
    """The descriptor with random parameters."""
    generator = np.random.default_rng(0)

    def conv(filters: int, channels: int, side: int) -> ConvLayer:
        weight = generator.standard_normal((filters, channels, side, side)) / np.sqrt(channels * side * side)
        return ConvLayer(weight.astype(np.float32), generator.standard_normal(filters).astype(np.float32) * 0.1)

    layers = [conv(32, 3, 7)]
    for before, channels in zip([32, *CHANNELS], CHANNELS, strict=False):
        layers += [conv(channels, before, 3), conv(channels, channels, 3)]
    head = generator.standard_normal((256, 128)).astype(np.float32)
    return DlibResNet(DlibWeights(tuple(layers), head))


def test_tail_behind_the_trunk_is_the_whole_descriptor(descriptor):
    chips = torch.randint(0, 256, (2, 150, 150, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    activations = descriptor.blocks[:-1](descriptor.stem_of(chips)).flatten(1)
    assert activations.shape == (2, 4096)
    torch.testing.assert_close(DlibTail(descriptor)(activations), descriptor(chips))


def test_tail_when_trained_leaves_the_descriptor_alone(descriptor):
    before = descriptor.head.weight.clone()
    tail = DlibTail(descriptor).requires_grad_()
    tail(torch.randn(3, 4096, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    with torch.no_grad():
        for parameter in tail.parameters():
            assert parameter.grad is not None
            parameter -= parameter.grad
    assert torch.equal(descriptor.head.weight, before)


def test_encoder_behind_its_spectra_is_the_whole_encoder():
    torch.manual_seed(0)
    encoder = Ge2eEncoder().eval()
    windows = 0.03 * torch.randn(3, GE2E_INPUT.window_samples)
    spectra = encoder.mel(windows).flatten(1)
    projection = LinearProjection(256, 32, LinearRecipe()).eval()
    torch.testing.assert_close(TunedEncoder(encoder, projection)(spectra), projection(encoder(windows)))


def test_one_row_of_each_takes_a_window_of_every_clip_and_in_time_every_window():
    features = make_features(4, 3, 5, windows=3)
    clips = TrainingClips(features, pooled=False)
    whole = clips.draw(0, 4, 3, np.random.default_rng(0))
    generator, taken = np.random.default_rng(1), set()
    for _ in range(40):
        batch = one_row_of_each(whole, generator)
        assert batch.rows.shape == (12, 5)
        assert torch.equal(batch.labels, whole.labels)
        for clip, row in enumerate(batch.rows):
            number = [index for index, other in enumerate(whole.rows) if torch.equal(row, other)]
            assert whole.clip_of_row[number[0]] == clip
            taken.add(number[0])
        torch.testing.assert_close(batch.pool(batch.rows), batch.rows)
    assert taken == set(range(36))


def test_low_resolution_keeps_the_mean_of_blocks_and_nothing_finer():
    generator = np.random.default_rng(0)
    blocks = torch.from_numpy(generator.integers(60, 190, (1, 10, 10, 3), dtype=np.uint8))
    coarse = blocks.repeat_interleave(15, dim=1).repeat_interleave(15, dim=2)
    checks = torch.from_numpy(((np.indices((150, 150)).sum(axis=0) % 2) * 2 - 1)[None, :, :, None])
    detailed = (coarse + 30 * checks)[:, :, :, :]
    # a checkerboard has no mean over 15 x 15 cells but one of its 225: 30 / 225 of a level
    difference = (low_resolution(detailed, 10) - low_resolution(coarse, 10)).abs().max()
    assert difference < 0.25
    flat = torch.full((1, 150, 150, 3), 77, dtype=torch.uint8)
    torch.testing.assert_close(low_resolution(flat, 16), flat.float())
