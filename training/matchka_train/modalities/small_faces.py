"""Small faces of photographs, in the ways that an enhancer is trained and judged on."""

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from matchka.errors import MatchkaError
from matchka.modalities.face.image import read_image
from matchka.modalities.face.look import CLOSER, MIN_EVIDENCE
from matchka.modalities.face.pyramid import RETRY, DetectorSettings, PixelArray
from matchka.modalities.face.reader import FaceReader
from matchka.modalities.face.spec import EnhancerSpec, ImageInputSpec
from matchka.runtime.atomic_file import write_atomically
from matchka.vectors import FloatArray
from matchka_train.backbones.backbone import Backbone
from matchka_train.datasets.file_bytes import read_file
from matchka_train.modalities.face import ANY_FACE, ANY_IMAGE, open_faces, require_detector
from matchka_train.modalities.photographs import Photograph, Photographs, require_faces
from matchka_train.modalities.reduction import Reduction, reduce_picture, reduced_chip, small_chip

ALIGNED: Final = "aligned before"  # reduced after alignment, which is then better than it can be
WHOLE: Final = "whole pictures"  # reduced whole, aligned by the landmarks of full size
FOUND: Final = "own detection"  # reduced whole, then read as the service reads a picture
WAYS: Final = (ALIGNED, WHOLE, FOUND)
FOUND_FORMAT: Final = "found-1"  # of what is kept of them; another one where code changes what is found
Cut = Callable[[Photograph, Path], tuple[PixelArray, float] | None]


@dataclass(frozen=True)
class SmallFaces:
    """Chips of small faces.

    Attributes:
        rows: int64, (n,), of which photographs; those in which no face was found are missing.
        chips: uint8, (n, chip_px, chip_px, 3).
        native_px: float32, (n,).
    """

    rows: npt.NDArray[np.int64]
    chips: PixelArray
    native_px: FloatArray


@dataclass(frozen=True)
class FaceShrinker:
    """Makes small faces for one backbone.

    Attributes:
        spec: of its chips.
        backbone: names the detector.
    """

    spec: ImageInputSpec
    backbone: Backbone
    _readers: list[FaceReader] = field(default_factory=list)

    @classmethod
    def of(cls, backbone: Backbone) -> "FaceShrinker":
        """For a backbone that embeds faces.

        Raises: FeatureError: it embeds something else.
        """
        return cls(require_faces(backbone), backbone)

    def full(self, photographs: Sequence[Photograph]) -> PixelArray:
        """Their chips at full size."""
        return np.stack([photograph.chip(self.spec) for photograph in photographs])

    def small(self, photographs: Photographs, native_px: float, way: str) -> SmallFaces:
        """All photographs at one size; what was found again is kept beside them, for it takes long.

        Args:
            photographs: at full size.
            native_px: side of the chip in the small picture.
            way: of WAYS.
        """
        if way != FOUND:
            return self._cut(photographs, native_px, way)
        kept = _found_cache(photographs, native_px)
        if not kept.is_file():
            found, buffer = self._cut(photographs, native_px, way), io.BytesIO()
            np.savez(buffer, rows=found.rows, chips=found.chips, native_px=found.native_px)
            write_atomically(kept, buffer.getvalue())
        with np.load(kept) as stored:
            return SmallFaces(stored["rows"], stored["chips"], stored["native_px"])

    def _cut(self, photographs: Photographs, native_px: float, way: str) -> SmallFaces:
        cut: Mapping[str, Cut] = {
            ALIGNED: lambda one, _: (reduced_chip(one.chip(self.spec), round(native_px)), float(round(native_px))),
            WHOLE: lambda one, _: small_chip(one, self.spec, Reduction(native_px)),
            FOUND: lambda one, path: self._found(one, path, native_px),
        }
        found = [
            (row, cut[way](one, path))
            for row, (one, path) in enumerate(zip(photographs.read, photographs.paths, strict=True))
        ]
        kept = [(row, *seen) for row, seen in found if seen is not None]
        side = self.spec.chip_px
        return SmallFaces(
            np.array([row for row, _, _ in kept], np.int64),
            np.array([chip for _, chip, _ in kept], np.uint8).reshape(-1, side, side, 3),
            np.array([size for _, _, size in kept], np.float32),
        )

    def _found(self, photograph: Photograph, path: Path, native_px: float) -> tuple[PixelArray, float] | None:
        if not self._readers:
            looking_twice = self.spec.model_copy(update={"enhancer": EnhancerSpec()})
            self._readers.append(open_faces(looking_twice, require_detector(self.backbone)))
        image = read_image(read_file(path), ANY_IMAGE)
        ratio = min(1.0, native_px / (self.spec.chip_px * photograph.scale))
        try:
            (reading,) = self._readers[0].readings_of(reduce_picture(image, ratio, Reduction(native_px)), "dominant")
        except MatchkaError:
            return None
        return None if reading.native_px is None else (reading.chip, reading.native_px)


def _found_cache(photographs: Photographs, native_px: float) -> Path:
    """Where the faces that were found again are kept: beside the photographs, by all that finds them."""
    settings = [asdict(one) for one in (DetectorSettings(), RETRY, CLOSER, ANY_FACE)]
    content = json.dumps([FOUND_FORMAT, MIN_EVIDENCE, settings, asdict(Reduction(native_px))])
    key = hashlib.sha256(content.encode()).hexdigest()[:16]
    return photographs.cache.with_name(f"{photographs.cache.stem}-found-{native_px:g}-{key}.npz")
