"""A picture -> the rows of a graph's input, one for each face that was asked for."""

import math
from dataclasses import dataclass, field, replace

from matchka.errors import SeveralFacesError
from matchka.modalities.face.detection import FaceDetector
from matchka.modalities.face.enhancement import Enhancer, open_enhancer
from matchka.modalities.face.finding import FaceFinding
from matchka.modalities.face.reader import FaceChoice, FaceReader, FaceReading
from matchka.modalities.face.settings import FaceSettings
from matchka.modalities.face.spec import DETECTOR_GRAPH_NAMES, ImageInputSpec
from matchka.modalities.modality import Graphs, Observation
from matchka.runtime.stage_timer import StageTimes


@dataclass(frozen=True)
class FaceOptions:
    """How a picture is read.

    Attributes:
        choice: which of its faces; see FaceReader.read.
        is_enrolled: whether they become templates, for which small ones do not serve.
        is_burst: whether it has to show exactly one, turned however far.
    """

    choice: FaceChoice
    is_enrolled: bool = False
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
    enhancer: Enhancer | None = None

    def read(self, data: bytes, options: FaceOptions) -> list[Observation]:
        """An observation for each face that the choice names; see FaceReader.read.

        Raises:
            MatchkaError: those of FaceReader.read.
            SmallFaceError: one of them becomes a template and is small.
            SeveralFacesError: a picture of a burst shows more than one that could be compared.
        """
        with self.times.timed("decode"):
            image = self.faces.decode(data)
        with self.times.timed("prepare"):
            readings = (self.burst if options.is_burst else self.faces).readings_of(image, options.choice)
            if options.is_enrolled:
                for reading in readings:
                    self.faces.require_enrollable(reading)
        if options.is_burst and len(readings) > 1:
            raise SeveralFacesError(
                "A picture of a burst shows more than one face.",
                value=len(readings),
                remedy="Take the pictures where nobody else is seen.",
            )
        if self.enhancer is not None and self.enhancer.applies_to(readings):
            with self.times.timed("enhance"):
                readings = self.enhancer.enhance(readings)
        return [Observation(reading.chip[None], finding_of(reading)) for reading in readings]


def finding_of(reading: FaceReading) -> FaceFinding:
    """What is told of a face beside its chip."""
    return FaceFinding(reading.face, reading.quality, reading.native_px, reading.enhanced)


def open_reader(spec: ImageInputSpec, limits: FaceSettings, graphs: Graphs, times: StageTimes) -> FaceSampleReader:
    """The reader of one bundle.

    Raises: BundleError: a file of the detector is no graph, or the enhancer's is none that fits; see open_enhancer.
    """
    pnet, rnet, onet = (graphs.open(name) for name in DETECTOR_GRAPH_NAMES)
    detector = FaceDetector(pnet, rnet, onet)
    face_limits = limits.face_limits(spec)
    faces, burst = (
        FaceReader(detector, spec, limits.image_limits, bounds)
        for bounds in (face_limits, replace(face_limits, max_yaw=math.inf))
    )
    return FaceSampleReader(faces, burst, times, open_enhancer(spec, graphs))
