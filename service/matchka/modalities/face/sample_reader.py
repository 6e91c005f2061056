"""A picture -> the rows of a graph's input, one for each face that was asked for."""

import math
from dataclasses import dataclass, field, replace

from matchka.errors import SeveralFacesError
from matchka.modalities.face.detection import FaceDetector
from matchka.modalities.face.finding import FaceFinding
from matchka.modalities.face.reader import FaceChoice, FaceReader
from matchka.modalities.face.settings import FaceSettings
from matchka.modalities.face.spec import DETECTOR_GRAPH_NAMES, ImageInputSpec
from matchka.modalities.modality import Graphs, Observation
from matchka.runtime.stage_timer import StageTimes


@dataclass(frozen=True)
class FaceOptions:
    """How a picture is read.

    Attributes:
        choice: which of its faces; see FaceReader.read.
        is_burst: whether it has to show exactly one, turned however far.
    """

    choice: FaceChoice
    is_burst: bool = False


@dataclass(frozen=True)
class FaceSampleReader:
    """Pictures to chips.

    Attributes:
        faces: for pictures of their own.
        burst: for those of a burst.
    """

    faces: FaceReader
    burst: FaceReader
    times: StageTimes = field(default_factory=StageTimes)

    def read(self, data: bytes, options: FaceOptions) -> list[Observation]:
        """An observation for each face that the choice names; see FaceReader.read.

        Raises: SeveralFacesError: a picture of a burst shows more than one that could be compared.
        """
        with self.times.timed("decode"):
            image = self.faces.decode(data)
        with self.times.timed("prepare"):
            readings = (self.burst if options.is_burst else self.faces).readings_of(image, options.choice)
        if options.is_burst and len(readings) > 1:
            raise SeveralFacesError(
                "A picture of a burst shows more than one face.",
                value=len(readings),
                remedy="Take the pictures where nobody else is seen.",
            )
        return [Observation(reading.chip[None], FaceFinding(reading.face, reading.quality)) for reading in readings]


def open_reader(spec: ImageInputSpec, limits: FaceSettings, graphs: Graphs, times: StageTimes) -> FaceSampleReader:
    """The reader of one bundle.

    Raises: BundleError: a file of the detector is no graph.
    """
    pnet, rnet, onet = (graphs.open(name) for name in DETECTOR_GRAPH_NAMES)
    detector = FaceDetector(pnet, rnet, onet)
    faces, burst = (
        FaceReader(detector, spec, limits.image_limits, face_limits)
        for face_limits in (limits.face_limits, replace(limits.face_limits, max_yaw=math.inf))
    )
    return FaceSampleReader(faces, burst, times)
