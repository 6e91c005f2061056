"""A folder of a speech transformer as its makers publish it: what it says of itself, and whether a waveform will do.

Files: `config.json`, `preprocessor_config.json`, and weights as .safetensors or .bin.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from matchka_train.backbones.onnx_file import file_sha256
from matchka_train.errors import ChecksumError, FeatureError
from matchka_train.weights.source import joined_sha256

CONFIG_NAME: Final = "config.json"
PREPROCESSOR_NAME: Final = "preprocessor_config.json"
KNOWN: Final = {"hubert": "HubertModel", "wav2vec2": "Wav2Vec2Model", "wavlm": "WavLMModel"}
# In the order in which the library looks for them; other files beside them (optimisers, adapters) are not read.
WEIGHTS: Final = ("model.safetensors", "model-*.safetensors", "pytorch_model.bin", "pytorch_model-*.bin")
WAVEFORM_EXTRACTOR: Final = "Wav2Vec2FeatureExtractor"
# Parameters that only masked pre-training and added heads use; everything else must be in the file.
UNUSED: Final = ("masked_spec_embed", "adapter.")


@dataclass(frozen=True)
class SpeechFacts:
    """What a folder says of its network.

    Attributes:
        kind: hubert, wav2vec2 or wavlm.
        sample_rate_hz: of the waveforms it was trained on.
        normalised: whether each waveform is brought to mean 0 and variance 1.
        hidden: components of one frame.
        layers: hidden states: the encoder's input and the output of every layer.
        kernels: samples or frames that each convolution of the front end sees.
        strides: and by how many it moves.
    """

    kind: str
    sample_rate_hz: int
    normalised: bool
    hidden: int
    layers: int
    kernels: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def receptive_samples(self) -> int:
        """Samples that one frame sees: no shorter waveform has a frame.

        >>> SpeechFacts("wavlm", 16_000, True, 768, 13, (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)).receptive_samples
        400
        """
        samples = 1
        for kernel, stride in zip(reversed(self.kernels), reversed(self.strides), strict=True):
            samples = (samples - 1) * stride + kernel
        return samples

    def frames(self, samples: int) -> int:
        """Frames of a waveform of at least receptive_samples.

        >>> SpeechFacts("wavlm", 16_000, True, 768, 13, (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)).frames(48_000)
        149
        """
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples


def read_speech_facts(folder: Path) -> SpeechFacts:
    """Read a folder's two descriptions.

    Raises:
        ChecksumError: one is missing or cannot be read.
        FeatureError: the network takes a spectrogram, or is of a kind that is not known.
    """
    config, preprocessor = _read_json(folder / CONFIG_NAME), _read_json(folder / PREPROCESSOR_NAME)
    _refuse_spectrograms(folder, config, preprocessor)
    kind = config.get("model_type")
    extractor = preprocessor.get("feature_extractor_type", WAVEFORM_EXTRACTOR)  # older folders leave it out
    if kind not in KNOWN or extractor != WAVEFORM_EXTRACTOR:
        raise FeatureError(
            f"{folder} must hold one of {', '.join(KNOWN)} with a {WAVEFORM_EXTRACTOR}.",
            value=f"{kind} with {extractor}",
            remedy="Bring any other network as an ONNX file that takes waveform windows (kind: onnx).",
        )
    try:
        return SpeechFacts(
            kind=kind,
            sample_rate_hz=int(preprocessor["sampling_rate"]),
            normalised=bool(preprocessor["do_normalize"]),
            hidden=int(config["hidden_size"]),
            layers=int(config["num_hidden_layers"]) + 1,
            kernels=tuple(int(kernel) for kernel in config["conv_kernel"]),
            strides=tuple(int(stride) for stride in config["conv_stride"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ChecksumError(
            f"{folder} does not say what its network is.", value=f"{type(error).__name__}: {error}", remedy=_WHOLE
        ) from error


def weights_sha256(folder: Path) -> str:
    """The sha256 of the weights file; of several, that of their hashes one behind the other.

    Raises: ChecksumError: there are none.
    """
    files = next((found for pattern in WEIGHTS if (found := sorted(folder.glob(pattern)))), [])
    if not files:
        raise ChecksumError(f"{folder} holds no weights.", value=f"none of {', '.join(WEIGHTS)}", remedy=_WHOLE)
    hashes = [file_sha256(file) for file in files]
    return hashes[0] if len(hashes) == 1 else joined_sha256(hashes)


def load_transformer(folder: Path, facts: SpeechFacts) -> torch.nn.Module:
    """The network with its weights; nothing is fetched, and no pickle may hold more than tensors.

    Args:
        folder: holds it.
        facts: as read_speech_facts gave them.

    Raises:
        FeatureError: the library that reads it is not installed.
        ChecksumError: weights are missing, damaged, or of another network.
    """
    try:
        import transformers
    except ImportError as error:
        raise FeatureError(
            "Speech transformers need the library transformers.",
            value=error,
            remedy="Install it with `pip install 'matchka[research]'`.",
        ) from error
    library: Any = transformers
    library.utils.logging.disable_progress_bar()
    model_class = getattr(library, KNOWN[facts.kind])
    try:
        model, report = model_class.from_pretrained(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            weights_only=True,
            dtype=torch.float32,
            attn_implementation="eager",
            output_loading_info=True,
        )
    except Exception as error:  # the readers of both formats raise classes of their own; nothing is swallowed
        raise ChecksumError(
            f"The weights in {folder} cannot be read without running code.",
            value=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            remedy=_WHOLE,
        ) from error
    # what a file lacks the library fills with random numbers
    lacking = sorted(name for name in report["missing_keys"] if not name.startswith(UNUSED))
    if lacking or report["mismatched_keys"]:
        raise ChecksumError(
            f"The weights in {folder} do not fill a {facts.kind} network.",
            value=lacking[:3] or sorted(report["mismatched_keys"])[:3],
            remedy=_WHOLE,
        )
    loaded: torch.nn.Module = model
    return loaded


def _refuse_spectrograms(folder: Path, config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> None:
    """A network that takes mel bands also runs on what a waveform head makes, and is silently wrong."""
    bands = (
        config.get("num_mel_bins")
        or preprocessor.get("num_mel_bins")
        or config.get("feature_projection_input_dim")  # how Wav2Vec2-BERT calls them
        or (preprocessor.get("feature_size") if preprocessor.get("feature_size", 1) > 1 else None)
    )
    if bands:
        raise FeatureError(
            f"{folder} holds a {config.get('model_type')} network, which takes a mel spectrogram (input_features, "
            f"{bands} bands) and not a waveform; behind a head for waveforms it gives numbers without meaning.",
            value=preprocessor.get("feature_extractor_type", "no extractor named"),
            remedy=f"Use one of {', '.join(KNOWN)}, or bring an ONNX file with the spectrogram inside (kind: onnx).",
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ChecksumError(f"{path} cannot be read.", value=error, remedy=_WHOLE) from error
    if not isinstance(content, dict):
        raise ChecksumError(f"{path} must hold a JSON object.", value=type(content).__name__, remedy=_WHOLE)
    return content


_WHOLE: Final = f"Bring the whole folder: {CONFIG_NAME}, {PREPROCESSOR_NAME} and the weights."
