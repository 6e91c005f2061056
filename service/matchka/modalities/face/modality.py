"""Faces as a modality."""

from collections.abc import Mapping
from typing import Final, get_args

from matchka.errors import (
    ImageTooComplexError,
    ImageTooLargeError,
    ImageTooThinError,
    InvalidFieldError,
    NoFaceError,
    NotImageError,
    PoorFaceError,
    SeveralFacesError,
    SmallFaceError,
    TooManyFacesError,
)
from matchka.modalities.face.cost import cost_s
from matchka.modalities.face.heif import EXTRA_FORMATS
from matchka.modalities.face.reader import FaceChoice
from matchka.modalities.face.sample_reader import FaceOptions, open_reader
from matchka.modalities.face.settings import FaceSettings
from matchka.modalities.face.spec import ImageInputSpec
from matchka.modalities.face.turn import turn_of
from matchka.modalities.modality import Modality, Purpose

CHOICES: Final[tuple[FaceChoice, ...]] = get_args(FaceChoice)
DEFAULT_CHOICES: Final[Mapping[Purpose, FaceChoice]] = {
    "enrolment": "only",  # a second face would be enrolled by chance
    "probe": "dominant",
    "burst": "all",
}


def options_for(purpose: Purpose, given: Mapping[str, str]) -> FaceOptions:
    """The face that the caller chose, or the purpose's default.

    Raises: InvalidFieldError: a choice that there is not.

    >>> options_for("enrolment", {})
    FaceOptions(choice='only', is_enrolled=True, is_burst=False)
    >>> options_for("probe", {"face": "aligned"})
    FaceOptions(choice='aligned', is_enrolled=False, is_burst=False)
    """
    chosen = given.get("face", DEFAULT_CHOICES[purpose])
    for choice in CHOICES:
        if choice == chosen:
            return FaceOptions(choice, is_enrolled=purpose == "enrolment", is_burst=purpose == "burst")
    raise InvalidFieldError(
        "There is no such choice of face.", value=chosen, remedy=f"Use one of {', '.join(CHOICES)}."
    )


def too_poor(native_px: float, least_px: float) -> SmallFaceError:
    """Of faces of which the largest is of this size, where one of at least `least_px` is needed."""
    return SmallFaceError(
        f"The face is too small to be compared with another that is small: it covers {native_px:.0f} pixels a side, "
        f"and {least_px:g} are needed.",
        value=round(native_px, 1),
        remedy="Send a picture that shows it larger: small faces are compared with those of full size, and all "
        "pictures of a turning head show it in full size.",
    )


FACE: Final = Modality(
    name="face",
    samples="pictures",
    things="faces",
    spec=ImageInputSpec,
    limits=FaceSettings,
    open_reader=open_reader,
    option_names=("face",),
    options_for=options_for,
    media_types=("image/jpeg", "image/png", "image/webp", "image/bmp"),
    extra_media_types=tuple(name for known in EXTRA_FORMATS for name in known.media_types),
    cost_s=cost_s,
    errors={
        NotImageError: "not_image",
        ImageTooLargeError: "image_too_large",
        ImageTooThinError: "image_too_thin",
        ImageTooComplexError: "image_too_complex",
        NoFaceError: "no_face",
        SeveralFacesError: "several_faces",
        PoorFaceError: "poor_face",
        SmallFaceError: "small_face",
        TooManyFacesError: "too_many_faces",
    },
    turn_of=turn_of,
    too_poor=too_poor,
    nothing_found=(NoFaceError, PoorFaceError, SeveralFacesError, TooManyFacesError),
)
