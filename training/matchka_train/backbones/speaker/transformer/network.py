"""HuBERT, wav2vec 2.0 and WavLM on padded waveforms: every hidden state, and its mean and spread over true frames.

What a waveform gives does not depend on what it is padded with, nor on its neighbours in the batch. The published code
keeps this promise in the attention only: the first convolution's normalisation sees the padding too.
"""

import warnings
from typing import Any, Final

import torch
from torch import Tensor, nn

from matchka_train.backbones.speaker.transformer.folder import SpeechFacts
from matchka_train.errors import FeatureError

NORMALISATION_EPS: Final = 1e-7  # as in the published front end
SMALLEST_NORM: Final = 1e-12  # as in matchka_train.backbones.speaker.ge2e


class LayerStatistics(nn.Module):
    """Waveforms of several lengths -> mean and standard deviation of each hidden state, every layer of unit length.

    Args:
        model: the loaded transformer.
        facts: what it is.
    """

    def __init__(self, model: nn.Module, facts: SpeechFacts) -> None:
        super().__init__()
        self.facts = facts
        # Any: the library's modules have no types worth the name
        parts: Any = model
        self.convolutions = parts.feature_extractor.conv_layers
        self.projection = parts.feature_projection
        self.encoder = parts.encoder
        self.is_stable = bool(parts.config.do_stable_layer_norm)
        _fix_weight(parts.encoder.pos_conv_embed.conv)
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Statistics of each layer's frames.

        Args:
            waveforms: float32, (n, samples); what lies beyond a waveform's length is not looked at.
            lengths: int64, (n,), each between facts.receptive_samples and samples.

        Returns: float32, (n, layers, 2 * hidden), means first; each layer's row of unit length.

        Raises: FeatureError: a waveform is too short for one frame (not checked while a graph is traced).
        """
        self._require_a_frame(lengths)
        states, mask = self.hidden_states(waveforms, lengths)
        weight = mask[:, None, :, None].float()
        count = weight.sum(dim=2)
        stacked = torch.stack(states, dim=1)  # (n, layers, frames, hidden)
        mean = (stacked * weight).sum(dim=2) / count
        spread = (((stacked - mean[:, :, None]) * weight).square().sum(dim=2) / count).sqrt()
        return nn.functional.normalize(torch.cat([mean, spread], dim=2), dim=2, eps=SMALLEST_NORM)

    def hidden_states(self, waveforms: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """The encoder's input and every layer's output, (n, frames, hidden) each, and which frames are true.

        The last is what the encoder returns. Frames that are not true hold nothing of use.
        """
        features, mask = self._front_end(waveforms, lengths)
        projected = self.projection(features.transpose(1, 2))
        hidden = projected[0] if isinstance(projected, tuple) else projected
        hidden = hidden * mask[:, :, None]
        hidden = hidden + self._positions(hidden, mask)
        if not self.is_stable:
            hidden = self.encoder.layer_norm(hidden)
        states = self._layers(hidden, mask)
        if self.is_stable:
            states[-1] = self.encoder.layer_norm(states[-1])
        return states, mask

    def _front_end(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Convolved frames (n, channels, frames), and which of them are true (n, frames)."""
        mask = _first(lengths, waveforms.shape[1])
        samples = waveforms * mask
        if self.facts.normalised:
            samples = _standardised(samples, mask)
        frames = samples[:, None]
        for layer, kernel, stride in zip(self.convolutions, self.facts.kernels, self.facts.strides, strict=True):
            lengths = (lengths - kernel) // stride + 1
            norm = getattr(layer, "layer_norm", None)
            if isinstance(norm, nn.GroupNorm):
                frames = layer.conv(frames)
                frames = layer.activation(_normalise_over_time(frames, _first(lengths, frames.shape[2]), norm))
            else:
                frames = layer(frames)
        return frames, _first(lengths, frames.shape[2])

    def _positions(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """The convolution that tells frames where they are; beyond the last true frame it sees zeros."""
        embedding = self.encoder.pos_conv_embed
        channels = hidden.transpose(1, 2)
        if getattr(embedding, "batch_norm", None) is not None:
            channels = embedding.batch_norm(channels) * mask[:, None]
        positions: Tensor = embedding.activation(embedding.padding(embedding.conv(channels)))
        return positions.transpose(1, 2)

    def _layers(self, hidden: Tensor, mask: Tensor) -> list[Tensor]:
        states = [hidden]
        if self.facts.kind == "wavlm":
            bias = None
            with warnings.catch_warnings():
                # it hands torch a mask of booleans beside a bias of floats; torch would rather have one type
                warnings.filterwarnings(
                    "ignore", message="Support for mismatched key_padding_mask", category=UserWarning
                )
                for layer in self.encoder.layers:
                    hidden, bias = layer(hidden, attention_mask=mask, position_bias=bias)
                    states.append(hidden)
            return states
        unseen = torch.zeros_like(mask, dtype=hidden.dtype).masked_fill(~mask, torch.finfo(hidden.dtype).min)
        for layer in self.encoder.layers:
            hidden = layer(hidden, attention_mask=unseen[:, None, None])
            states.append(hidden)
        return states

    def _require_a_frame(self, lengths: Tensor) -> None:
        if torch.compiler.is_compiling():
            return
        shortest = int(lengths.min())
        if shortest < self.facts.receptive_samples:
            raise FeatureError(
                f"A clip must have at least {self.facts.receptive_samples} samples for a {self.facts.kind} network to "
                "make one frame of it.",
                value=shortest,
                remedy="Leave out shorter clips (data.limits.min_speech_s).",
            )


def _fix_weight(conv: nn.Module) -> None:
    """A weight kept as direction and length becomes the weight itself: nothing is trained here."""
    if nn.utils.parametrize.is_parametrized(conv, "weight"):
        nn.utils.parametrize.remove_parametrizations(conv, "weight")


def _first(lengths: Tensor, size: int) -> Tensor:
    """True for the first `lengths` of `size`: (n,) -> (n, size)."""
    return torch.arange(size, device=lengths.device)[None] < lengths[:, None]


def _standardised(samples: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the true samples; zeros elsewhere."""
    count = mask.sum(dim=1, keepdim=True)
    mean = samples.sum(dim=1, keepdim=True) / count
    centred = (samples - mean) * mask
    variance = centred.square().sum(dim=1, keepdim=True) / count
    return centred / torch.sqrt(variance + NORMALISATION_EPS)


def _normalise_over_time(frames: Tensor, mask: Tensor, norm: nn.GroupNorm) -> Tensor:
    """The group normalisation of one channel a group, over true frames only: (n, channels, frames)."""
    weight = mask[:, None].float()
    count = weight.sum(dim=2, keepdim=True)
    mean = (frames * weight).sum(dim=2, keepdim=True) / count
    variance = ((frames - mean) * weight).square().sum(dim=2, keepdim=True) / count
    scaled = (frames - mean) / torch.sqrt(variance + norm.eps)
    return scaled * norm.weight[:, None] + norm.bias[:, None]
