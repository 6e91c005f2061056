"""A picture -> the rows of a graph's input, one for each face that was asked for."""

from dataclasses import dataclass, field

from matchka.modalities.face.detection import FaceDetector
from matchka.modalities.face.finding import FaceFinding
from matchka.modalities.face.reader import FaceChoice, FaceReader
from matchka.modalities.face.settings import FaceSettings
from matchka.modalities.face.spec import DETECTOR_GRAPH_NAMES, ImageInputSpec
from matchka.modalities.modality import Graphs, Observation
from matchka.runtime.stage_timer import StageTimes


@dataclass(frozen=True)
class FaceOptions:
    """How a picture is read. Attributes: choice: which of its faces; see FaceReader.read."""

    choice: FaceChoice


@dataclass(frozen=True)
class FaceSampleReader:
    """Pictures to chips."""

    faces: FaceReader
    times: StageTimes = field(default_factory=StageTimes)

    def read(self, data: bytes, options: FaceOptions) -> list[Observation]:
        """An observation for each face that the choice names; see FaceReader.read."""
        with self.times.timed("decode"):
            image = self.faces.decode(data)
        with self.times.timed("prepare"):
            return [
                Observation(reading.chip[None], FaceFinding(reading.face, reading.quality))
                for reading in self.faces.readings_of(image, options.choice)
            ]


def open_reader(spec: ImageInputSpec, limits: FaceSettings, graphs: Graphs, times: StageTimes) -> FaceSampleReader:
    """The reader of one bundle.

    Raises: BundleError: a file of the detector is no graph.
    """
    pnet, rnet, onet = (graphs.open(name) for name in DETECTOR_GRAPH_NAMES)
    detector = FaceDetector(pnet, rnet, onet)
    return FaceSampleReader(FaceReader(detector, spec, limits.image_limits, limits.face_limits), times)
