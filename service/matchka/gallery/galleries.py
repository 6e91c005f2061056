"""The galleries of every tenant, model and version: the contract, and those in this process' memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeAlias

from matchka.gallery.faiss_cpu.gallery import CpuGallery
from matchka.gallery.faiss_cpu.policy import Method
from matchka.gallery.faiss_gpu import GpuDevice, GpuGallery
from matchka.gallery.gallery import Gallery, GallerySpace

GalleryKey: TypeAlias = tuple[str, str, str]  # tenant, model, version


class Galleries(Protocol):
    """Galleries by tenant, model and version. The follower alone calls what changes them.

    Of each space, what is there is resumed, or it is begun, filled and finished; from then on galleries are read, too.
    """

    @property
    def is_shared(self) -> bool:
        """Whether other processes change them, too: what one of them writes late may be older than what is there."""
        ...

    def of(self, tenant: str, model: str, version: str, full_dim: int) -> Gallery:
        """The gallery of a tenant, model and version, whose references have `full_dim` components."""
        ...

    def resume(self, space: GallerySpace) -> str | None:
        """Take what is kept of a space. Returns: the position that was remembered with it; None where nothing is."""
        ...

    def begin(self, space: GallerySpace) -> None:
        """Begin to fill a space with what the store holds."""
        ...

    def finish(self, space: GallerySpace, position: str, is_good: Callable[[str], bool], grace_s: float = 0.0) -> str:
        """End filling a space.

        Args:
            space: that was begun.
            position: of the store: all changes until then are in it.
            is_good: whether a position is as good; then what another process has finished meanwhile may be taken.
            grace_s: for so long others may go on with what was there before.

        Returns: the position of what is there now.
        """
        ...

    def abandon(self) -> None:
        """Remove what was begun and is not finished: filling it has failed."""
        ...

    def remember(self, position: str) -> None:
        """Note that all changes of the store until a position are here."""
        ...

    def remove_leftovers(self) -> int:
        """Remove what is kept of spaces that were neither resumed nor begun. Returns: of how many."""
        ...

    def are_current(self) -> bool:
        """Whether no other process has filled them anew.

        Raises: GalleryUnavailableError: they cannot be reached.
        """
        ...

    def sizes(self) -> dict[GalleryKey, int]:
        """Subjects in each gallery, as far as that is known without asking anybody."""
        ...

    def searches(self) -> dict[GalleryKey, dict[Method, int]]:
        """Searches made in each gallery so far, by the method that was chosen."""
        ...


class GalleryBackend(Protocol):
    """A kind of galleries."""

    def galleries(self) -> Galleries:
        """Galleries that hold nothing yet."""
        ...


class GalleryOpener:
    """Makes the galleries of one service in memory, on a device or for the CPU; they share its threads, or the device.

    Args:
        threads: that share one search of a large gallery.
        device: that searches; none by default.
    """

    def __init__(self, threads: int = 1, device: GpuDevice | None = None) -> None:
        self._threads = threads
        # the calling thread takes one part itself; the threads start with the first large search
        self._executor = ThreadPoolExecutor(threads - 1, thread_name_prefix="search") if threads > 1 else None
        self._device = device

    def open(self, full_dim: int) -> Gallery:
        """An empty gallery of references of `full_dim` components."""
        if self._device is not None:
            return GpuGallery(full_dim, self._device)
        return CpuGallery(full_dim, self._executor, self._threads)

    def galleries(self) -> "TenantGalleries":
        """Galleries that hold nothing yet."""
        return TenantGalleries(self)


class TenantGalleries:
    """Galleries by tenant, model and version in this process' memory: what is filled is gone with it.

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

    @property
    def is_shared(self) -> bool:
        """No other process reaches them."""
        return False

    def resume(self, space: GallerySpace) -> str | None:  # noqa: ARG002 - of the protocol
        """Nothing is kept."""
        return None

    def begin(self, space: GallerySpace) -> None:
        """Nothing has to be made."""

    def finish(
        self,
        space: GallerySpace,  # noqa: ARG002 - of the protocol
        position: str,
        is_good: Callable[[str], bool],  # noqa: ARG002
        grace_s: float = 0.0,  # noqa: ARG002
    ) -> str:
        """What was filled is what is there."""
        return position

    def abandon(self) -> None:
        """It goes with this object."""

    def remember(self, position: str) -> None:
        """Nothing is kept."""

    def remove_leftovers(self) -> int:
        """Nothing is kept."""
        return 0

    def are_current(self) -> bool:
        """Nobody else fills them."""
        return True

    def sizes(self) -> dict[GalleryKey, int]:
        """Subjects in each gallery."""
        return {key: len(gallery) for key, gallery in list(self._galleries.items())}

    def searches(self) -> dict[GalleryKey, dict[Method, int]]:
        """Searches made in each gallery so far, by the method that was chosen."""
        return {key: gallery.searches() for key, gallery in list(self._galleries.items())}
