"""The galleries of every tenant, model and version; on the GPU where one is wanted and there, else on the CPU."""

from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from matchka.gallery.faiss_cpu.gallery import CpuGallery
from matchka.gallery.faiss_cpu.policy import Method
from matchka.gallery.faiss_gpu import GpuGallery, open_gpu
from matchka.gallery.gallery import Gallery


class GalleryOpener:
    """Makes the galleries of one service; they share its threads, or its GPU.

    Args:
        threads: that share one search of a large gallery.
        use_gpu: search on a GPU where FAISS finds one.
        half_precision: of the vectors on the GPU.
    """

    def __init__(self, threads: int = 1, use_gpu: bool = False, half_precision: bool = False) -> None:
        self._threads = threads
        # the calling thread takes one part itself; the threads start with the first large search
        self._executor = ThreadPoolExecutor(threads - 1, thread_name_prefix="search") if threads > 1 else None
        self._gpu = open_gpu(half_precision) if use_gpu else None

    def open(self, full_dim: int) -> Gallery:
        """An empty gallery of references of `full_dim` components."""
        if self._gpu is not None:
            return GpuGallery(full_dim, self._gpu)
        return CpuGallery(full_dim, self._executor, self._threads)


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
