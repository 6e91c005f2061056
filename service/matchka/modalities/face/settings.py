"""The settings of faces: MATCHKA_FACE__ + the name in capitals."""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from matchka.modalities.extra_formats import check_names
from matchka.modalities.face.heif import EXTRA_FORMATS
from matchka.modalities.face.image import ImageLimits
from matchka.modalities.face.reader import FaceLimits
from matchka.modalities.face.spec import SMALL_PX, ImageInputSpec

MIN_EYE_DISTANCE_PX: Final = 10.0
MIN_EYE_DISTANCE_OF_SMALL_PX: Final = 5.5  # of a face of 15 px


class FaceSettings(BaseModel):
    """Which pictures are read, and which of their faces are compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_megapixels: float = Field(25.0, gt=0, allow_inf_nan=False, description="Largest picture, million pixels.")
    max_faces: int = Field(32, ge=1, description="Most faces of one picture that are looked up together.")
    min_eye_distance_px: float | None = Field(
        None,
        ge=0,
        description="Smaller faces are refused; by default below 10, or 5.5 where small ones are read.",
    )
    min_enrolled_px: float | None = Field(
        None,
        ge=0,
        description="Smaller faces are not enrolled; by default below 40 where small ones are read. 0 takes all.",
    )
    min_sharpness: float = Field(0.0, ge=0, description="More blurred faces are refused; 0 takes all.")
    max_yaw: float = Field(2.0, gt=0, description="Further turned faces are refused; 1 is about a profile.")
    min_visible: float = Field(0.5, ge=0, le=1, description="Least share of the face inside the picture.")

    formats: tuple[str, ...] = Field(
        (), description="Further formats that are read: heic, which needs the extra matchka[formats]."
    )

    @field_validator("formats", mode="before")
    @classmethod
    def _check_formats(cls, value: object) -> tuple[str, ...]:
        return check_names(value, EXTRA_FORMATS)

    @property
    def image_limits(self) -> ImageLimits:
        """Of the picture."""
        return ImageLimits(self.max_megapixels, self.formats)

    def face_limits(self, spec: ImageInputSpec) -> FaceLimits:
        """Of its faces, where a bundle reads them. Args: spec: the bundle's input."""
        least_px = self.min_eye_distance_px
        if least_px is None:
            least_px = MIN_EYE_DISTANCE_PX if spec.enhancer is None else MIN_EYE_DISTANCE_OF_SMALL_PX
        enrolled_px = self.min_enrolled_px
        if enrolled_px is None:
            # other bundles have no thresholds by size: they enrol all that they compare
            enrolled_px = 0.0 if spec.enhancer is None else SMALL_PX
        return FaceLimits(least_px, self.min_sharpness, self.max_yaw, self.min_visible, self.max_faces, enrolled_px)
