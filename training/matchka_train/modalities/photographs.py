"""Photographs of faces with their landmarks, from which smaller pictures of the same faces are made."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.progress import Progress

from matchka.errors import MatchkaError
from matchka.modalities.face.alignment import SimilarityTransform, extract_chip, fit_similarity
from matchka.modalities.face.pyramid import PixelArray
from matchka.modalities.face.spec import ImageInputSpec
from matchka.runtime.atomic_file import write_atomically
from matchka.vectors import FloatArray
from matchka_train.backbones.backbone import Backbone
from matchka_train.datasets.content import read_hashed
from matchka_train.datasets.sample import Sample
from matchka_train.errors import DatasetError, FeatureError
from matchka_train.modalities.face import open_faces, require_detector
from matchka_train.modalities.skipped import Skipped

CACHE_FORMAT: Final = "photographs-1"
SURROUNDINGS: Final = 1.5  # of the chip's side are kept: what blurs into a face lies near it


@dataclass(frozen=True)
class Photograph:
    """A face with what is around it.

    Attributes:
        pixels: uint8, (rows, cols, 3).
        landmarks: float32, (5, 2), x y in these pixels, as matchka.modalities.face.detection.Face.
        subject: who it is.
        scale: pixels of the whole picture in one of its chip.
    """

    pixels: PixelArray
    landmarks: FloatArray
    subject: str
    scale: float

    def similarity(self, spec: ImageInputSpec) -> SimilarityTransform:
        """Where its chip lies."""
        return fit_similarity(self.landmarks, spec.template)

    def chip(self, spec: ImageInputSpec) -> PixelArray:
        """Its chip at full size: uint8, (chip_px, chip_px, 3)."""
        return extract_chip(Image.fromarray(self.pixels), self.similarity(spec), spec.chip_px)


@dataclass(frozen=True)
class Photographs:
    """Those that could be read, and the samples that could not.

    Attributes:
        read: those that could.
        paths: their files.
        skipped: the others.
        cache: where they are kept, under a name that depends on all that they are made of.
    """

    read: tuple[Photograph, ...]
    paths: tuple[Path, ...]
    skipped: tuple[Skipped, ...]
    cache: Path

    @property
    def subjects(self) -> list[str]:
        """Of each, in order."""
        return [photograph.subject for photograph in self.read]


def read_photographs(
    samples: Sequence[Sample], backbone: Backbone, cache_dir: Path, hashes: Mapping[Path, str], progress: Progress
) -> Photographs:
    """Find the face of each picture as the service does; a second time they come from the cache.

    A file that is gone or was overwritten is among the skipped ones, and is tried again by the next run.

    Args:
        samples: whole pictures.
        backbone: one for faces, which names a detector.
        cache_dir: folder of the feature cache.
        hashes: of the files, by hash_files.
        progress: shows how far it is.

    Raises: FeatureError: the backbone takes no faces, or names no detector.
    """
    spec = require_faces(backbone)
    settings = [CACHE_FORMAT, spec.content(), require_detector(backbone).sha256]

    def path_of(some: Sequence[Sample]) -> Path:
        content = json.dumps([*settings, [hashes[one.path] for one in some]])
        return cache_dir / f"photographs-{hashlib.sha256(content.encode()).hexdigest()[:32]}.npz"

    if path_of(samples).is_file():
        return _load(path_of(samples), samples)
    content, unread = _find_faces(samples, spec, backbone, hashes, progress)
    left_out = {entry.path for entry in unread}
    kept = [sample for sample in samples if str(sample.path) not in left_out]
    cache_dir.mkdir(parents=True, exist_ok=True)
    write_atomically(path_of(kept), content)
    found = _load(path_of(kept), kept)
    return replace(found, skipped=(*found.skipped, *unread))


def require_faces(backbone: Backbone) -> ImageInputSpec:
    """The input of a backbone that embeds faces.

    Raises: FeatureError: it embeds something else.
    """
    if not isinstance(backbone.input, ImageInputSpec):
        raise FeatureError(
            "Only faces can be made small.", value=backbone.input.kind, remedy="Name a backbone that embeds faces."
        )
    return backbone.input


def _find_faces(
    samples: Sequence[Sample],
    spec: ImageInputSpec,
    backbone: Backbone,
    hashes: Mapping[Path, str],
    progress: Progress,
) -> tuple[bytes, list[Skipped]]:
    """What is kept of the samples that could be read, and those whose file was gone or another one."""
    reader = open_faces(spec, require_detector(backbone))
    found: list[tuple[PixelArray, FloatArray, float]] = []
    reasons, unread = [], []
    for sample in progress.track(samples, description="finding faces"):
        try:
            data = read_hashed(sample.path, hashes[sample.path])
        except (OSError, DatasetError) as error:
            unread.append(Skipped(str(sample.path), sample.part, str(error)))
            continue
        try:
            image = reader.decode(data)
            (reading,) = reader.readings_of(image, "dominant")
        except MatchkaError as error:
            reasons.append(str(error))
            continue
        if reading.face is None:
            raise FeatureError("A picture needs landmarks.", value=sample.path, remedy="Give whole pictures.")
        found.append(_cut(image, reading.face.landmarks, spec))
        reasons.append("")
    buffer = io.BytesIO()
    np.savez(
        buffer,
        pixels=np.concatenate([pixels.reshape(-1, 3) for pixels, _, _ in found]),
        shapes=np.array([pixels.shape[:2] for pixels, _, _ in found], np.int64),
        landmarks=np.stack([landmarks for _, landmarks, _ in found]),
        scales=np.array([scale for _, _, scale in found]),
        reasons=np.array(reasons),
    )
    return buffer.getvalue(), unread


def _cut(image: Image.Image, landmarks: FloatArray, spec: ImageInputSpec) -> tuple[PixelArray, FloatArray, float]:
    """The face with its surroundings, at most as large as the chip asks for; its landmarks there; its scale before."""
    similarity = fit_similarity(landmarks, spec.template)
    centre = similarity.a * (0.5 + 0.5j) * spec.chip_px + similarity.b
    half = SURROUNDINGS * similarity.scale * spec.chip_px / 2
    left, top = (max(0, int(value - half)) for value in (centre.real, centre.imag))
    right, bottom = min(image.width, int(centre.real + half) + 1), min(image.height, int(centre.imag + half) + 1)
    part = image.crop((left, top, right, bottom))
    shrink = max(1.0, similarity.scale)
    size = max(1, round(part.width / shrink)), max(1, round(part.height / shrink))
    ratio = np.array([size[0] / part.width, size[1] / part.height], np.float32)
    kept = part if shrink == 1.0 else part.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(kept), (landmarks - np.array([left, top], np.float32)) * ratio, similarity.scale


def _load(path: Path, samples: Sequence[Sample]) -> Photographs:
    with np.load(path) as stored:
        names = ("pixels", "shapes", "landmarks", "scales", "reasons")
        pixels, shapes, landmarks, scales, reasons = (stored[name] for name in names)
    ends = np.cumsum(shapes.prod(axis=1))
    parts: list[npt.NDArray[np.uint8]] = np.split(pixels, ends[:-1])
    kept = [sample for sample, reason in zip(samples, reasons, strict=True) if not reason]
    return Photographs(
        tuple(
            Photograph(part.reshape(*shape, 3), points, sample.subject, scale)
            for part, shape, points, scale, sample in zip(
                parts, shapes.tolist(), landmarks, scales.tolist(), kept, strict=True
            )
        ),
        tuple(sample.path for sample in kept),
        tuple(
            Skipped(str(sample.path), sample.part, str(reason))
            for sample, reason in zip(samples, reasons, strict=True)
            if reason
        ),
        path,
    )
