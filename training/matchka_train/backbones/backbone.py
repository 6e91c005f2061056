"""What every frozen backbone offers: where its weights came from, what it takes, and the network itself."""

from typing import TYPE_CHECKING, Protocol

from matchka.modalities.face.detection import FaceDetector
from matchka.modalities.modality import InputSpec
from matchka_train.weights.source import WeightSource

if TYPE_CHECKING:
    import torch  # takes seconds, and whoever only names a backbone needs none of it


class DetectorSource(Protocol):
    """Networks that find faces, not opened yet.

    Attributes: sha256: of all of them together; what is cached depends on it.
    """

    @property
    def sha256(self) -> str: ...  # noqa: D102 - described above

    def open(self) -> FaceDetector:
        """The detector."""
        ...


class Backbone(Protocol):
    """A frozen pretrained network with its front end inside.

    Attributes:
        name: short name, as a recipe gives it.
        source: where the weights came from.
        input: how a clip becomes the windows, or a picture the chips, that the network takes.
        detector: finds the faces of pictures; None where the input is audio.
        embedding_dim: components of one embedding.
        published: the network as its makers published it, which accuracy is compared with; itself unless this
            project puts something around it that is no projection.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above
    @property
    def source(self) -> WeightSource: ...  # noqa: D102
    @property
    def input(self) -> InputSpec: ...  # noqa: D102
    @property
    def detector(self) -> DetectorSource | None: ...  # noqa: D102
    @property
    def embedding_dim(self) -> int: ...  # noqa: D102
    @property
    def published(self) -> "Backbone": ...  # noqa: D102

    def module(self) -> "torch.nn.Module":
        """The network: rows of the input -> float32 embeddings (n, embedding_dim) of unit length.

        Rows are float32 windows (n, input.window_samples) or uint8 chips (n, chip_px, chip_px, 3). It is in evaluation
        mode and none of its parameters asks for a gradient.
        """
        ...
