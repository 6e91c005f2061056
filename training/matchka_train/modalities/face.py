"""A sample's picture -> the aligned chip a backbone takes, on the way the service takes too."""

from typing import Final

from matchka.errors import MatchkaError
from matchka.modalities.audio.decoding import AudioLimits
from matchka.modalities.face.image import ImageLimits
from matchka.modalities.face.pyramid import PixelArray
from matchka.modalities.face.reader import FaceLimits, FaceReader
from matchka.modalities.face.spec import ImageInputSpec
from matchka_train.backbones.backbone import Backbone, DetectorSource
from matchka_train.datasets.sample import Sample
from matchka_train.errors import FeatureError
from matchka_train.modalities.augmentation import View
from matchka_train.modalities.skipped import Skipped

# Every face that is found takes part: a projection that never saw a poor one would be judged on good ones only.
ANY_IMAGE: Final = ImageLimits(max_megapixels=100.0)
ANY_FACE: Final = FaceLimits(min_eye_distance_px=0.0, min_sharpness=0.0, max_yaw=1e9, min_visible=0.0, max_faces=1)


class ChipReader:
    """Reads the dominant face of each picture.

    Args:
        spec: chips of the backbone.
        detector: finds the faces.
    """

    def __init__(self, spec: ImageInputSpec, detector: DetectorSource) -> None:
        self._faces = FaceReader(detector.open(), spec, ANY_IMAGE, ANY_FACE)

    def rows(self, sample: Sample, _sha256: str) -> PixelArray | Skipped:
        """Read one sample.

        Args: sample: a whole picture.

        Returns: uint8, (1, chip_px, chip_px, 3), or why there is none.

        Raises: FeatureError: the sample is a part of a file.
        """
        if sample.parts != 1:
            raise FeatureError("A picture has no parts.", value=sample.path, remedy="Leave clip_parts out.")
        try:
            (reading,) = self._faces.read(sample.path.read_bytes(), "dominant")
        except (MatchkaError, OSError) as error:
            return Skipped(str(sample.path), sample.part, str(error))
        return reading.chip[None]


def open_reader(spec: ImageInputSpec, backbone: Backbone, _limits: AudioLimits, view: View | None) -> ChipReader:
    """See matchka_train.modalities.modality.open_reader."""
    if view is not None:
        raise FeatureError("Pictures have no changed copies.", remedy="Set augmentation.views to 0.")
    return ChipReader(spec, require_detector(backbone))


def require_detector(backbone: Backbone) -> DetectorSource:
    """What finds the faces for a backbone.

    Raises: FeatureError: it names nothing.
    """
    if backbone.detector is None:
        raise FeatureError(
            f"The backbone {backbone.name} takes faces and names no detector.", remedy="Give it one, such as Mtcnn."
        )
    return backbone.detector


def describe_reader(spec: ImageInputSpec, backbone: Backbone, _limits: AudioLimits) -> dict[str, object]:
    """See matchka_train.modalities.modality.describe_reader."""
    return {"input": spec.content(), "detector": require_detector(backbone).sha256}
