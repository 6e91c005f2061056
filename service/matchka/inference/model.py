"""A bundle at work: samples as bytes -> full embeddings, and what was seen of faces on the way."""

import logging
from dataclasses import dataclass, field
from threading import Semaphore
from typing import Final, Protocol

import numpy as np

from matchka.bundles.bundle import Bundle
from matchka.bundles.manifest import Manifest
from matchka.errors import BundleError, InvalidFieldError, MatchkaError
from matchka.inference.batch_policy import BatchPolicy
from matchka.inference.batcher import Batcher
from matchka.inference.session import OrtSession, Session, open_ort_session
from matchka.modalities.audio.decoding import AudioLimits, read_clip
from matchka.modalities.audio.spec import SPEECH_GRAPH_NAME, AudioInputSpec
from matchka.modalities.audio.speech_activity import INPUT_SHAPES, SpeechDetector
from matchka.modalities.audio.windows import split_windows
from matchka.modalities.face.detection import FaceDetector
from matchka.modalities.face.image import ImageLimits
from matchka.modalities.face.reader import FaceChoice, FaceLimits, FaceReader, FaceReading
from matchka.modalities.face.spec import ImageInputSpec
from matchka.modalities.modality import InputArray, InputSpec
from matchka.modalities.purpose import Purpose
from matchka.runtime.deadline import patiently_holding
from matchka.runtime.stage_timer import StageMetrics, StageTimes
from matchka.settings import Settings
from matchka.vectors import FloatArray, mean_by_group, truncate_and_normalise

LOGGER: Final = logging.getLogger("matchka.inference.model")
# Two threads do one window no sooner than one: its recurrent steps come one after the other (docs/decisions/050).
LEAST_WIDE_WINDOWS: Final = 2
WARM_UP_LEVEL: Final = 0.01  # standard deviation of the noise that the graph is run on once


@dataclass(frozen=True)
class Reading:
    """What one embedding is made of: rows of the graph's input, (rows, ...), and the face they show, if any."""

    rows: InputArray
    face: FaceReading | None


@dataclass(frozen=True)
class Observed:
    """Embeddings of samples, float32, (readings, full_dim), of unit length, and the face that each was made of."""

    vectors: FloatArray
    faces: tuple[FaceReading | None, ...]


class SampleReader(Protocol):
    """Turns one file into what the graph takes."""

    def read(self, data: bytes, choice: FaceChoice, purpose: Purpose, /) -> list[Reading]:
        """At least one reading; exactly one unless all faces are asked for."""
        ...

    def example(self) -> InputArray:
        """One row to warm the graph with."""
        ...


@dataclass(frozen=True)
class VoiceSampleReader:
    """Audio files to windows."""

    audio_input: AudioInputSpec
    limits: AudioLimits
    times: StageTimes = field(default_factory=StageTimes)
    speech: SpeechDetector | None = None

    def read(self, data: bytes, _choice: FaceChoice, purpose: Purpose) -> list[Reading]:
        """One reading: the clip's windows. What is enrolled has to be speech, where there is a detector to tell."""
        with self.times.timed("decode"):
            clip = read_clip(data, self.audio_input.sample_rate_hz, self.limits)
        with self.times.timed("prepare"):
            if purpose == "enrolment" and self.speech is not None:
                self.speech.require_speech(clip, self.limits.min_speech_s)
            return [Reading(split_windows(clip, self.audio_input), None)]

    def example(self) -> InputArray:
        """A window of quiet noise."""
        noise = np.random.default_rng(0).normal(0.0, WARM_UP_LEVEL, self.audio_input.window_samples)
        return split_windows(noise.astype(np.float32), self.audio_input)


@dataclass(frozen=True)
class FaceSampleReader:
    """Pictures to chips."""

    faces: FaceReader
    chip_px: int
    times: StageTimes = field(default_factory=StageTimes)

    def read(self, data: bytes, choice: FaceChoice, _purpose: Purpose) -> list[Reading]:
        """A reading for each face that the choice names."""
        with self.times.timed("decode"):
            image = self.faces.decode(data)
        with self.times.timed("prepare"):
            return [Reading(reading.chip[None], reading) for reading in self.faces.readings_of(image, choice)]

    def example(self) -> InputArray:
        """A chip of grey noise."""
        side = (1, self.chip_px, self.chip_px, 3)
        return np.random.default_rng(0).integers(0, 256, side, dtype=np.uint8)


@dataclass(frozen=True)
class BoundedReader:
    """A reader that no more threads use at once than there are slots.

    Threads that only wait for their batch are many, for batches to fill; cores that decode, and the memory of decoded
    files, are few.
    """

    reader: SampleReader
    slots: Semaphore

    def read(self, data: bytes, choice: FaceChoice, purpose: Purpose) -> list[Reading]:
        """As the reader does.

        Raises: ClientGoneError, DeadlinePassedError: the answer is of no more use.
        """
        with patiently_holding(self.slots):
            return self.reader.read(data, choice, purpose)

    def example(self) -> InputArray:
        """As the reader's."""
        return self.reader.example()


@dataclass(frozen=True)
class Model:
    """One served bundle. Attributes: is_current: false for an older version that is served beside a newer."""

    manifest: Manifest
    session: Session
    reader: SampleReader
    times: StageTimes = field(default_factory=StageTimes)
    is_current: bool = True

    @property
    def label(self) -> str:
        """What tells it from the others that are served: its name, with the version behind where that is older."""
        return _label_of(self.manifest, self.is_current)

    @property
    def takes_images(self) -> bool:
        """Whether samples are pictures rather than audio."""
        return self.manifest.input.kind == "image"

    def embed(self, samples: list[bytes]) -> FloatArray:
        """The vectors of observe(), with the dominant face of each picture."""
        return self.observe(samples, "dominant").vectors

    def observe(self, samples: list[bytes], choice: FaceChoice, purpose: Purpose = "probe") -> Observed:
        """Embed whole files, one after the other so that memory holds one decoded file at a time.

        Args:
            samples: audio files or pictures, at least one.
            choice: which face of each picture; of no effect on audio.
            purpose: what the samples are for; those to be enrolled are looked at more closely.

        Raises: MatchkaError: a sample is not usable; the error says which.
        """
        vectors: list[FloatArray] = []
        faces: list[FaceReading | None] = []
        for number, data in enumerate(samples, start=1):
            try:
                readings = self.reader.read(data, choice, purpose)
                inputs = readings[0].rows if len(readings) == 1 else np.concatenate([r.rows for r in readings])
                rows = self.session.embed(inputs)
                vectors.append(mean_by_group(rows, [len(reading.rows) for reading in readings]))
                faces.extend(reading.face for reading in readings)
            except MatchkaError as error:
                if len(samples) > 1:
                    error.detail = f"File {number} of {len(samples)}: {error.detail}"
                raise
        return Observed(truncate_and_normalise(np.concatenate(vectors), self.manifest.full_dim), tuple(faces))

    @property
    def batcher(self) -> Batcher | None:
        """The session, where it batches."""
        return self.session if isinstance(self.session, Batcher) else None

    def close(self) -> None:
        """Stop the session's threads, if it has any."""
        if self.batcher is not None:
            self.batcher.close()

    def warm_up(self) -> None:
        """Run the graph once, so that the first request does not pay for its set-up."""
        self.session.embed(self.reader.example())

    def require_no_face_choice(self, choice: str | None) -> None:
        """Refuse a choice of face where there are none to choose.

        Raises: InvalidFieldError: as said.
        """
        if choice is not None and not self.takes_images:
            raise InvalidFieldError(
                f"The model {self.manifest.name} takes audio; face does not apply to it.",
                value=choice,
                remedy="Leave face out, or use a model for faces.",
            )


def open_model(
    bundle: Bundle, settings: Settings, decode_slots: Semaphore | None = None, stages: StageMetrics | None = None
) -> Model:
    """Load a verified bundle's graphs; the embedding one behind a batcher.

    Args:
        bundle: what to serve.
        settings: limits, and how to batch.
        decode_slots: bounds how many files are decoded at once, over all models that share it.
        stages: told what its stages take; by default some that nobody reads.

    Raises: BundleError: a graph does not match the manifest.
    """
    spec, times = bundle.manifest.input, StageTimes(stages, _label_of(bundle.manifest, bundle.is_current))
    session = _open_graph(bundle, settings, settings.session_threads)
    # one run on all cores is for lone requests; a GPU, one core or chosen threads leave nothing to gain
    has_wide = settings.batch_shares > 1 and settings.session_threads == 1
    wide = _open_graph(bundle, settings, settings.batch_shares) if has_wide else None
    reader = _open_reader(bundle, spec, settings, times)
    policy = BatchPolicy(
        max_rows=settings.effective_batch_rows,
        max_wait_s=settings.batch_wait_ms / 1000.0,
        max_queued_rows=settings.batch_queue_rows,
        lanes=settings.effective_batch_lanes,
        most_shares=settings.batch_shares,
        least_wide_rows=LEAST_WIDE_WINDOWS if isinstance(spec, AudioInputSpec) else 1,
    )
    batcher = Batcher(session, policy, name=bundle.manifest.name, times=times, wide=wide)
    bounded = BoundedReader(reader, decode_slots or Semaphore(settings.decode_threads))
    return Model(bundle.manifest, batcher, bounded, times, bundle.is_current)


def _label_of(manifest: Manifest, is_current: bool) -> str:
    return manifest.name if is_current else f"{manifest.name} {manifest.version}"


def _open_graph(bundle: Bundle, settings: Settings, threads: int) -> Session:
    spec = bundle.manifest.input.graph_input()
    return OrtSession(
        bundle.graph_path,
        spec.name,
        spec.shape,
        bundle.manifest.full_dim,
        threads,
        input_dtype=spec.dtype,
        use_gpu=settings.device == "gpu",
    )


def _open_reader(bundle: Bundle, spec: InputSpec, settings: Settings, times: StageTimes) -> SampleReader:
    match spec:
        case AudioInputSpec():
            return _open_voice(bundle, spec, settings, times)
        case ImageInputSpec():
            return _open_face(bundle, spec, settings, times)
        case _:
            raise TypeError(f"no reader for {type(spec)}")


def _open_voice(bundle: Bundle, spec: AudioInputSpec, settings: Settings, times: StageTimes) -> SampleReader:
    limits = AudioLimits(max_duration_s=settings.max_audio_s, min_speech_s=settings.min_speech_s)
    return VoiceSampleReader(spec, limits, times, _open_speech_detector(bundle))


def _open_speech_detector(bundle: Bundle) -> SpeechDetector | None:
    """The detector of speech, if the bundle has one; the log says if not."""
    manifest = bundle.manifest
    if manifest.speech_activity is None:
        LOGGER.warning(
            "the bundle %s %s has no detector of speech: any sound that is loud enough can be enrolled; build it again",
            manifest.name,
            manifest.version,
        )
        return None
    path = bundle.path / SPEECH_GRAPH_NAME
    session = open_ort_session(path, threads=1)  # its recurrent steps come one after the other
    found = {graph_input.name: tuple(graph_input.shape[1:]) for graph_input in session.get_inputs()}
    if found != INPUT_SHAPES:
        raise BundleError(
            f"{path} must take {INPUT_SHAPES} behind the first axis of each input.",
            value=found,
            remedy="Build the bundle again with `matchka-export defaults`.",
        )
    return SpeechDetector(session)


def _open_face(bundle: Bundle, spec: ImageInputSpec, settings: Settings, times: StageTimes) -> SampleReader:
    pnet, rnet, onet = (
        open_ort_session(bundle.path / name, settings.session_threads)
        for name in ("pnet.onnx", "rnet.onnx", "onet.onnx")
    )
    face_limits = FaceLimits(
        settings.face_min_eye_distance_px,
        settings.face_min_sharpness,
        settings.face_max_yaw,
        settings.face_min_visible,
        settings.max_faces,
    )
    reader = FaceReader(FaceDetector(pnet, rnet, onet), spec, ImageLimits(settings.max_image_megapixels), face_limits)
    return FaceSampleReader(reader, spec.chip_px, times)
