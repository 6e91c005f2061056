"""The galleries of every tenant, model and version, opened when they are first asked for."""

from typing import TypeAlias

from matchka.gallery.faiss_cpu.policy import Method
from matchka.gallery.galleries import GalleryOpener
from matchka.gallery.gallery import Gallery

GalleryKey: TypeAlias = tuple[str, str, str]  # tenant, model, version


class TenantGalleries:
    """Galleries by tenant, model and version.

    Args: opener: makes them; on the CPU by default.
    """

    def __init__(self, opener: GalleryOpener | None = None) -> None:
        self._opener = opener or GalleryOpener()
        self._galleries: dict[GalleryKey, Gallery] = {}

    def of(self, tenant: str, model: str, version: str, full_dim: int) -> Gallery:
        """The gallery of a tenant, model and version, whose references have `full_dim` components."""
        key = (tenant, model, version)
        found = self._galleries.get(key)
        # setdefault is atomic: two threads that meet here end with the same gallery
        return self._galleries.setdefault(key, self._opener.open(full_dim)) if found is None else found

    def sizes(self) -> dict[GalleryKey, int]:
        """Subjects in each gallery."""
        return {key: len(gallery) for key, gallery in list(self._galleries.items())}

    def searches(self) -> dict[GalleryKey, dict[Method, int]]:
        """Searches made in each gallery so far, by the method that was chosen."""
        return {key: gallery.searches() for key, gallery in list(self._galleries.items())}
