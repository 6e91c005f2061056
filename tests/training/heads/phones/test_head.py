"""Heads beside slow loops over frames; a clip alone and in company; what is kept on disk."""

import json

import numpy as np
import pytest
import torch

from matchka_train.errors import CheckpointError, HeadError
from matchka_train.heads.phones.context import BothDirections
from matchka_train.heads.phones.fusion import GatedFusion
from matchka_train.heads.phones.head import EncoderShape, PhoneHead
from matchka_train.heads.phones.layers import OneLayer, WeightedLayers
from matchka_train.heads.phones.masking import Masking
from matchka_train.heads.phones.recipe import HeadRecipe
from matchka_train.heads.phones.storage import EncoderInfo, HeadInfo, load_head, require_encoders, save_head

SHAPES = (EncoderShape(3, 4), EncoderShape(1, 6))
CONTEXTS = (
    {"kind": "linear"},
    {"kind": "convolution", "width": 5, "layers": 2},
    {"kind": "bilstm", "width": 5, "layers": 2},
    {"kind": "bilstm", "width": 5, "layers": 2, "skip": True},
)
FUSIONS = ({"kind": "early"}, {"kind": "gated", "width": 7})


def head_of(context=CONTEXTS[2], fusion=FUSIONS[0], layers="weighted"):
    torch.manual_seed(0)
    recipe = HeadRecipe.model_validate({"layers": layers, "context": context, "fusion": fusion})
    return PhoneHead(recipe, SHAPES, 9).eval()


def frames_of(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, count, shape.layers, shape.dim, generator=generator) for shape in SHAPES]


def padded(clips, length):
    """One batch of clips; what pads them is noise, so that nothing may look at it."""
    return [
        torch.cat([torch.cat([part, 9 * torch.randn(1, length - part.shape[1], *part.shape[2:])], 1) for part in parts])
        for parts in zip(*clips, strict=True)
    ]


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_head_when_a_clip_is_alone_or_in_company_reads_the_same(context, fusion):
    head = head_of(context, fusion)
    clips = [frames_of(count, count) for count in (11, 4, 7)]
    together = head(padded(clips, 11), torch.tensor([11, 4, 7])).detach()
    for clip, row in zip(clips, together, strict=True):
        count = clip[0].shape[1]
        assert torch.allclose(head(clip).detach()[0], row[:count], atol=1e-5)
        assert torch.allclose(row[:count].exp().sum(dim=1), torch.ones(count), atol=1e-5)


def test_weighted_layers_when_trained_weigh_by_a_softmax():
    layers = WeightedLayers(3)
    layers.logits.data = torch.tensor([0.0, 1.0, -2.0])
    frames = torch.randn(2, 5, 3, 4)
    weights = np.exp([0.0, 1.0, -2.0]) / np.exp([0.0, 1.0, -2.0]).sum()
    expected = np.zeros((2, 5, 4))
    for clip, frame, layer in np.ndindex(2, 5, 3):
        expected[clip, frame] += weights[layer] * frames[clip, frame, layer].numpy()
    assert np.allclose(layers(frames).detach().numpy(), expected, atol=1e-6)
    assert np.allclose(layers.shares(), weights)
    assert OneLayer(-1, 3).shares() == [0.0, 0.0, 1.0]
    assert torch.equal(OneLayer(-1, 3)(frames), frames[:, :, 2])


def test_gated_fusion_is_a_weighted_sum_of_normalised_projections():
    torch.manual_seed(1)
    fusion = GatedFusion((4, 6), 3)
    parts = [torch.randn(1, 2, 4), torch.randn(1, 2, 6)]
    found = fusion(parts).detach().numpy()
    for frame in range(2):
        rows = []
        for part, projection in zip(parts, fusion.projections, strict=True):
            linear, norm = (dict(layer.named_parameters()) for layer in projection)
            row = linear["weight"].detach().numpy() @ part[0, frame].numpy() + linear["bias"].detach().numpy()
            row = (row - row.mean()) / np.sqrt(row.var() + 1e-5)
            rows.append(row * norm["weight"].detach().numpy() + norm["bias"].detach().numpy())
        gates = fusion.gate.weight.detach().numpy() @ np.concatenate(rows) + fusion.gate.bias.detach().numpy()
        for component in range(3):
            share = np.exp(gates[[component, 3 + component]])
            expected = (share / share.sum()) @ [rows[0][component], rows[1][component]]
            assert found[0, frame, component] == pytest.approx(expected, abs=1e-5)


def test_both_directions_when_lengths_differ_are_those_of_packed_sequences():
    torch.manual_seed(2)
    ours = BothDirections(4, 3)
    library = torch.nn.LSTM(4, 3, batch_first=True, bidirectional=True)
    library.load_state_dict(
        dict(ours.forwards.state_dict())
        | {f"{name}_reverse": value for name, value in ours.backwards.state_dict().items()}
    )
    frames, lengths = torch.randn(3, 6, 4), torch.tensor([6, 2, 5])
    packed = torch.nn.utils.rnn.pack_padded_sequence(frames, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(library(packed)[0], batch_first=True)
    for row, wanted, length in zip(ours(frames, lengths), expected, lengths, strict=True):
        assert torch.allclose(row[:length], wanted[:length], atol=1e-6)


def test_masking_when_drawn_hides_stretches_and_leaves_the_rest_as_it_is():
    torch.manual_seed(3)
    parts = [torch.ones(40, 30, 10), torch.ones(40, 30, 20)]
    hidden = Masking(frames=6, every_frames=10, share=0.3, bands=1).hide(parts, torch.full((40,), 30))
    for part in hidden:
        assert set(part.unique().tolist()) == {0.0, 1.0}
        assert 0.5 < float(part.mean()) < 0.9  # three of up to 6 of 30 frames, one of up to .3 of the components
    assert all(bool((part == 1).all()) for part in parts)
    still = Masking(frames=0, share=0, bands=0).hide(parts, None)
    assert all(torch.equal(part, kept) for part, kept in zip(parts, still, strict=True))


def test_head_when_the_encoder_has_no_such_layer_refuses():
    with pytest.raises(HeadError, match="3 layers"):
        head_of(layers=3)


def info_of(head_recipe):
    encoders = tuple(EncoderInfo(f"e{number}", "0" * 64, s.layers, s.dim) for number, s in enumerate(SHAPES))
    classes = tuple("_abcdefgh")
    return HeadInfo(head_recipe, encoders, classes, 0.03, ({"name": "n", "use": "u"},), {"recipe": "1"})


@pytest.mark.parametrize("fusion", FUSIONS)
def test_head_when_saved_and_read_is_the_same_file_and_says_the_same(tmp_path, fusion):
    head = head_of(CONTEXTS[2], fusion)
    info = info_of(HeadRecipe.model_validate({"context": CONTEXTS[2], "fusion": fusion}))
    for name in ("a", "b"):
        save_head(tmp_path / f"{name}.safetensors", head, info)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    again, said = load_head(tmp_path / "a.safetensors")
    assert said == info
    clip = frames_of(5)
    assert torch.equal(again(clip), head(clip).detach())


@pytest.mark.parametrize("content", [b"", b"not tensors", json.dumps({}).encode()])
def test_load_head_when_the_file_is_another_refuses(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(HeadError, match="cannot be read"):
        load_head(tmp_path / "x.safetensors")


def test_require_encoders_when_they_are_others_refuses():
    with pytest.raises(CheckpointError, match="other encoders"):
        require_encoders(info_of(HeadRecipe()), [])
