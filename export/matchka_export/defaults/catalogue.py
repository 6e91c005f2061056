"""The default models: whose weights each is made of, and how its bundle is built (no torch until one is)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from matchka.bundles.bundle import Bundle, sha256_of
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka_export.defaults.equalizer import EqualizerModel
from matchka_export.defaults.model import DefaultModel
from matchka_export.gate.evidence import read_evidence
from matchka_export.phonemes.vocabulary import VOCABULARY_NAME, candidate_words
from matchka_export.quantised.files import QUANTISED_NAME, quantised_path
from matchka_train.backbones.backbone import Backbone
from matchka_train.weights.package_catalogue import DLIB_WEIGHTS, GE2E_WEIGHTS, MTCNN_WEIGHTS, SPEECH_ACTIVITY_GRAPH

RADIO_NETWORK: Final = Path(__file__).with_name("radio.network.safetensors")  # trained here; nothing is fetched
FACE_ENHANCER: Final = Path(__file__).with_name("face.enhancer.safetensors")  # likewise
FUSED: Final = ("voice", "face")  # those that decide together


@dataclass(frozen=True)
class EmbeddingModel(DefaultModel):
    """A frozen backbone with a projection.

    Attributes: open_backbone: folder that keeps package files -> frozen network.
    """

    open_backbone: Callable[[Path], Backbone]

    def build(self, target: Path, downloads: Path, samples: Path, console: Console) -> Bundle:
        """Join the shipped projection to the backbone."""
        with console.status("Loading torch"):
            from matchka_export.defaults.assemble import assemble
        backbone = self.open_backbone(downloads)
        return assemble(target, backbone, self.fitted, self.evidence, downloads, samples / self.name, console)

    def is_current(self, bundle: Bundle) -> bool:
        """Also whether embeddings are compared as they were measured, and whether its 8-bit graph is that one."""
        measured = read_evidence(self.evidence)
        files = bundle.manifest.files
        quantised = quantised_path(self.evidence)
        return (
            super().is_current(bundle)
            and bundle.manifest.output(EmbeddingOutput).scorer == measured.scorer
            and files.get(QUANTISED_NAME) == (sha256_of(quantised) if quantised.is_file() else None)
            and all(files.get(file) == sha256 for file, sha256 in measured.scorer_sha256.items())
        )


@dataclass(frozen=True)
class PhonemeModel(DefaultModel):
    """Frozen encoders with a head for phones."""

    def build(self, target: Path, downloads: Path, samples: Path, console: Console) -> Bundle:  # noqa: ARG002
        """Join the shipped head to its encoders, and add the words of challenges and the dictionary."""
        with console.status("Loading torch"):
            from matchka_export.phonemes.assemble import assemble_phonemes
        return assemble_phonemes(target, self.fitted, self.evidence, downloads, console)

    def is_current(self, bundle: Bundle) -> bool:
        """Also whether all words of its challenges are still candidates."""
        if not super().is_current(bundle):
            return False
        words = (bundle.path / VOCABULARY_NAME).read_text(encoding="utf-8").split()
        return set(words) <= set(candidate_words())


# Networks import torch, which takes seconds, and a bundle that is current needs none of it.


def _ge2e(downloads: Path) -> Backbone:
    from matchka_train.backbones.speaker.ge2e import Ge2e

    return Ge2e(downloads)


def _radio(_downloads: Path) -> Backbone:
    from matchka_train.backbones.iq.backbone import RadioBackbone

    return RadioBackbone(RADIO_NETWORK)


def _dlib(downloads: Path) -> Backbone:
    from matchka_train.backbones.face.dlib import DlibFace

    return DlibFace(downloads)


FACE_WEIGHTS: Final = (
    DLIB_WEIGHTS.sha256,
    *(member.sha256 for member in MTCNN_WEIGHTS.values()),
    sha256_of(FACE_ENHANCER),
)
VOICE_WEIGHTS: Final = (GE2E_WEIGHTS.sha256, SPEECH_ACTIVITY_GRAPH.sha256)
EMBEDDING_MODELS: Final = (
    EmbeddingModel("voice", VOICE_WEIGHTS, _ge2e),
    EmbeddingModel("face", FACE_WEIGHTS, _dlib),
    EmbeddingModel("radio", (sha256_of(RADIO_NETWORK),), _radio),
)
_ALL: Final[tuple[DefaultModel, ...]] = (
    *EMBEDDING_MODELS,
    PhonemeModel("phonemes", VOICE_WEIGHTS),
    EqualizerModel("equalizer", ()),
)
DEFAULT_MODELS: Final = {model.name: model for model in _ALL}
