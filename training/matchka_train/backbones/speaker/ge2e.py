"""GE2E speaker encoder: power mel -> three LSTM layers -> linear -> ReLU -> unit length."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from rich.console import Console

from matchka.modalities.audio.spec import AudioInputSpec
from matchka_train.backbones.auxiliary import RequiredPart
from matchka_train.backbones.speaker.mel import MelSpectrogram
from matchka_train.errors import ChecksumError
from matchka_train.weights.package_catalogue import GE2E_WEIGHTS
from matchka_train.weights.packages import DEFAULT_CACHE_DIR, WRONG_PIN, read_member
from matchka_train.weights.source import WeightSource

SAMPLE_RATE_HZ: Final = 16_000
FFT_SAMPLES: Final = 400  # 25 ms
FRAME_HOP_SAMPLES: Final = 160  # 10 ms
MEL_BANDS: Final = 40
FRAMES: Final = 160  # the 1.6 s the encoder was trained on
HOP_FRAMES: Final = 77  # 1.3 windows a second: more, or fewer, measured worse (docs/decisions/030)
HIDDEN: Final = 256
LAYERS: Final = 3
EMBEDDING_DIM: Final = 256
SMALLEST_NORM: Final = 1e-12  # an embedding of zeros stays zeros and is refused later, instead of becoming NaN

GE2E_SOURCE: Final = WeightSource(
    name="GE2E speaker encoder",
    source=f"Python package {GE2E_WEIGHTS.package.name}, member {GE2E_WEIGHTS.path}",
    version=GE2E_WEIGHTS.package.version,
    sha256=GE2E_WEIGHTS.sha256,
    licence=GE2E_WEIGHTS.package.licence,
)
GE2E_INPUT: Final = AudioInputSpec(
    sample_rate_hz=SAMPLE_RATE_HZ,
    window_samples=(FRAMES - 1) * FRAME_HOP_SAMPLES + FFT_SAMPLES,
    hop_samples=HOP_FRAMES * FRAME_HOP_SAMPLES,
    context_samples=FFT_SAMPLES // 2,
    level_dbfs=-30.0,
)


class Ge2eEncoder(torch.nn.Module):
    """The network with its front end; parameter names are those of the published weights.

    Source: Wan et al. 2018, arXiv:1710.10467.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mel = MelSpectrogram(SAMPLE_RATE_HZ, FFT_SAMPLES, FRAME_HOP_SAMPLES, MEL_BANDS)
        self.lstm = torch.nn.LSTM(MEL_BANDS, HIDDEN, LAYERS, batch_first=True)
        self.linear = torch.nn.Linear(HIDDEN, EMBEDDING_DIM)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Embed waveform windows: float32, (n, 25840) -> (n, 256), each of unit length and without negatives."""
        return self.embed_spectra(self.mel(windows))

    def embed_spectra(self, spectra: torch.Tensor) -> torch.Tensor:
        """Embed mel spectrograms: float32, (n, frames, 40) -> (n, 256), as forward."""
        _, (hidden, _) = self.lstm(spectra)
        raw = torch.relu(self.linear(hidden[-1]))
        norms = torch.linalg.vector_norm(raw, dim=1, keepdim=True)
        return raw / torch.clamp(norms, min=SMALLEST_NORM)


@dataclass(frozen=True)
class Ge2e:
    """The GE2E backbone with the weights of the pinned package.

    Attributes: downloads: the folder that keeps the package file.
    """

    downloads: Path = DEFAULT_CACHE_DIR

    name: str = "ge2e"
    source: WeightSource = GE2E_SOURCE
    input: AudioInputSpec = GE2E_INPUT
    embedding_dim: int = EMBEDDING_DIM
    auxiliary: tuple[RequiredPart, ...] = ()

    @property
    def published(self) -> "Ge2e":
        """Itself."""
        return self

    def module(self) -> torch.nn.Module:
        """The frozen encoder in evaluation mode: windows -> embeddings.

        Raises:
            DownloadError: the weights are not in the cache and cannot be fetched.
            ChecksumError: they are others than the pinned ones.
        """
        content = read_member(GE2E_WEIGHTS, self.downloads, Console(stderr=True))
        return load_encoder(content)


def load_encoder(content: bytes) -> Ge2eEncoder:
    """The encoder with the published weights in place.

    Args: content: the bytes of `pretrained.pt`; unpickled with tensors allowed and nothing else.

    Raises: ChecksumError: the file does not hold this network.
    """
    checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    state = checkpoint["model_state"]
    # the two scalars of the training loss are no part of the encoder
    weights = {name: tensor for name, tensor in state.items() if not name.startswith("similarity_")}
    encoder = Ge2eEncoder()
    missing, unexpected = encoder.load_state_dict(weights, strict=False)
    if set(missing) != {"mel.basis", "mel.filters"} or unexpected:
        raise ChecksumError(
            "The weights do not fit the GE2E encoder.",
            value={"missing": missing, "unexpected": unexpected},
            remedy=WRONG_PIN,
        )
    encoder.requires_grad_(requires_grad=False)
    return encoder.eval()
