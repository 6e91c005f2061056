"""The settings of faces: MATCHKA_FACE__ + the name in capitals."""

from pydantic import BaseModel, ConfigDict, Field

from matchka.modalities.face.image import ImageLimits
from matchka.modalities.face.reader import FaceLimits


class FaceSettings(BaseModel):
    """Which pictures are read, and which of their faces are compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_megapixels: float = Field(25.0, gt=0, allow_inf_nan=False, description="Largest picture, million pixels.")
    max_faces: int = Field(32, ge=1, description="Most faces of one picture that are looked up together.")
    min_eye_distance_px: float = Field(10.0, ge=0, description="Smaller faces are refused.")
    min_sharpness: float = Field(0.0, ge=0, description="More blurred faces are refused; 0 takes all.")
    max_yaw: float = Field(2.0, gt=0, description="Further turned faces are refused; 1 is about a profile.")
    min_visible: float = Field(0.5, ge=0, le=1, description="Least share of the face inside the picture.")

    @property
    def image_limits(self) -> ImageLimits:
        """Of the picture."""
        return ImageLimits(self.max_megapixels)

    @property
    def face_limits(self) -> FaceLimits:
        """Of its faces."""
        return FaceLimits(self.min_eye_distance_px, self.min_sharpness, self.max_yaw, self.min_visible, self.max_faces)
