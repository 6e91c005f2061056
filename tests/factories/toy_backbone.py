"""A network small enough to export in a second, with the operations of the real one."""

import torch

from matchka.modalities.audio.spec import AudioInputSpec
from matchka_train.backbones.speaker.mel import MelSpectrogram

TOY_INPUT = AudioInputSpec(
    sample_rate_hz=16_000, window_samples=1_840, hop_samples=800, context_samples=200, level_dbfs=-30.0
)
TOY_DIM = 8


class ToyBackbone(torch.nn.Module):
    """Mel, an LSTM and a unit-length end: (n, 1840) -> (n, 8)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mel = MelSpectrogram(16_000, 400, 160, 6)
        self.lstm = torch.nn.LSTM(6, TOY_DIM, batch_first=True)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        _, (hidden, _) = self.lstm(self.mel(windows))
        raw = hidden[-1]
        return raw / torch.linalg.vector_norm(raw, dim=1, keepdim=True).clamp(min=1e-12)
