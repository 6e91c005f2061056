"""A sample's picture -> the aligned chip a backbone takes, on the way the service takes too."""

from typing import Final

import numpy as np

from matchka.errors import MatchkaError
from matchka.modalities.face.detection import FaceDetector
from matchka.modalities.face.enhancement import Enhancer
from matchka.modalities.face.image import ImageLimits, read_image
from matchka.modalities.face.pyramid import PixelArray
from matchka.modalities.face.reader import FaceLimits, FaceReader
from matchka.modalities.face.spec import ImageInputSpec
from matchka_train.backbones.auxiliary import RequiredPart
from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.face.recipes import DlibRecipe, EdgeFaceRecipe
from matchka_train.datasets.sample import Sample
from matchka_train.errors import FeatureError
from matchka_train.modalities.augmentation import View
from matchka_train.modalities.copies import CopyFinder
from matchka_train.modalities.modality import NoLimits, TrainingModality
from matchka_train.modalities.picture_fingerprint import Bits, copies_among, fingerprint
from matchka_train.modalities.skipped import Skipped

DETECTOR: Final = "detector"  # as ImageInputSpec.auxiliary_graphs() names it
ENHANCER: Final = "enhancer"  # likewise
# Every face that is found takes part: a projection that never saw a poor one would be judged on good ones only.
ANY_IMAGE: Final = ImageLimits(max_megapixels=100.0)
ANY_FACE: Final = FaceLimits(min_eye_distance_px=0.0, min_sharpness=0.0, max_yaw=1e9, min_visible=0.0, max_faces=1)


class ChipReader:
    """Reads the dominant face of each picture.

    Args:
        spec: chips of the backbone.
        detector: the three graphs that find the faces.
        enhancer: what the bundle enhances small ones with; None where it does not.
    """

    def __init__(self, spec: ImageInputSpec, detector: RequiredPart, enhancer: Enhancer | None = None) -> None:
        self._faces = open_faces(spec, detector)
        self._enhancer = enhancer

    def rows(self, data: bytes, sample: Sample, _sha256: str) -> PixelArray | Skipped:
        """Decode one sample.

        Args:
            data: the picture's bytes.
            sample: a whole picture.

        Returns: uint8, (1, chip_px, chip_px, 3), or why there is none.

        Raises: FeatureError: the sample is a part of a file.
        """
        if sample.parts != 1:
            raise FeatureError("A picture has no parts.", value=sample.path, remedy="Leave clip_parts out.")
        try:
            readings = self._faces.read(data, "dominant")
        except MatchkaError as error:
            return Skipped(str(sample.path), sample.part, str(error))
        (reading,) = readings if self._enhancer is None else self._enhancer.enhance(readings)
        return reading.chip[None]


def open_faces(spec: ImageInputSpec, detector: RequiredPart) -> FaceReader:
    """The service's own reader, which here takes every face that it finds.

    Args:
        spec: chips of the backbone.
        detector: the three graphs that find the faces.
    """
    pnet, rnet, onet = detector.open()
    return FaceReader(FaceDetector(pnet, rnet, onet), spec, ANY_IMAGE, ANY_FACE)


def _open_reader(spec: ImageInputSpec, backbone: Backbone, _limits: NoLimits, view: View | None) -> ChipReader:
    if view is not None:
        raise FeatureError("Pictures have no changed copies.", remedy="Set augmentation.views to 0.")
    return ChipReader(spec, require_detector(backbone), _enhancer_of(spec, backbone))


def _enhancer_of(spec: ImageInputSpec, backbone: Backbone) -> Enhancer | None:
    part = _part(backbone, ENHANCER)
    if spec.enhancer is None or part is None:
        return None
    (graph,) = part.open()
    return Enhancer(graph, spec.enhancer)


def require_detector(backbone: Backbone) -> RequiredPart:
    """What finds the faces for a backbone.

    Raises: FeatureError: it names nothing.
    """
    part = _part(backbone, DETECTOR)
    if part is None:
        raise FeatureError(
            f"The backbone {backbone.name} takes faces and names no detector.", remedy="Give it one, such as Mtcnn."
        )
    return part


def _part(backbone: Backbone, name: str) -> RequiredPart | None:
    return next((part for part in backbone.auxiliary if part.name == name), None)


def _describe(spec: ImageInputSpec, backbone: Backbone, _limits: NoLimits) -> dict[str, object]:
    described: dict[str, object] = {"input": spec.content(), DETECTOR: require_detector(backbone).sha256}
    enhancer = _part(backbone, ENHANCER)
    return described if enhancer is None else described | {ENHANCER: enhancer.sha256}


def _noise(spec: ImageInputSpec) -> PixelArray:
    return np.random.default_rng(0).integers(0, 256, (2, *spec.graph_input().fixed_shape), dtype=np.uint8)


def _fingerprint(data: bytes) -> Bits:
    return fingerprint(read_image(data, ANY_IMAGE))


FACE: Final = TrainingModality(
    spec=ImageInputSpec,
    limits=NoLimits,
    backbones=(DlibRecipe, EdgeFaceRecipe),
    open_reader=_open_reader,
    describe=_describe,
    fixed_rows=_noise,
    copies=CopyFinder("picture-1", _fingerprint, copies_among),
)
