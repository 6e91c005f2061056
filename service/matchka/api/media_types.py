"""What senders say of their samples, against what a model takes."""

from collections.abc import Iterable
from typing import Final

from matchka.api.bodies.fields import StatedFile
from matchka.bundles.manifest import Manifest
from matchka.errors import InvalidFieldError
from matchka.modalities import MODALITIES

ANY: Final = "application/octet-stream"  # RFC 2046: bytes of which nothing is said


def require_media_types(manifest: Manifest, files: Iterable[bytes]) -> None:
    """Refuse samples that are said to be of another kind than those of a model.

    Only what stands before the slash counts: formats have several names, and the content tells which it is.

    Args:
        manifest: of the model.
        files: samples; of those that are no StatedFile nothing is said.

    Raises: InvalidFieldError: one is of another kind.
    """
    modality = MODALITIES[manifest.input.kind]
    kinds = {known.split("/")[0] for known in modality.media_types}
    for file in files:
        if isinstance(file, StatedFile) and file.media_type != ANY and file.media_type.split("/")[0] not in kinds:
            raise InvalidFieldError(
                f"The model {manifest.name} takes {modality.samples}.",
                value=file.media_type,
                remedy=f"Send one of {modality.stated_media_types}, and name its type, or use another model.",
            )
