"""The galleries of every tenant in Milvus: found as they were left, or filled anew beside those that are there."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from matchka.errors import GalleryUnavailableError
from matchka.gallery.faiss_cpu.policy import Method
from matchka.gallery.galleries import GalleryKey
from matchka.gallery.gallery import GallerySpace
from matchka.gallery.milvus.connection import MilvusConnection
from matchka.gallery.milvus.gallery import MilvusGallery
from matchka.gallery.milvus.registry import Generation, GenerationRegistry

CHECK_S: Final = 1.0  # between two looks whether Milvus is there, and the generations are still the current ones
COUNTED_AT_ONCE: Final = 16  # galleries, after a look
LOGGER: Final = logging.getLogger("matchka.gallery")


class MilvusGalleries:
    """Galleries by tenant, model and version, in one generation of each space.

    Args:
        connection: to Milvus.
        registry: of generations.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        connection: MilvusConnection,
        registry: GenerationRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._registry = registry
        self._clock = clock
        self._checked_at = -CHECK_S
        self._spaces: dict[tuple[str, str], GallerySpace] = {}
        self._collections: dict[GallerySpace, str] = {}
        self._adopted: dict[GallerySpace, Generation] = {}
        self._galleries: dict[GalleryKey, MilvusGallery] = {}

    @property
    def is_shared(self) -> bool:
        """Other processes change them, too."""
        return True

    def of(self, tenant: str, model: str, version: str, full_dim: int) -> MilvusGallery:
        """The gallery of a tenant, model and version of a space that was resumed or begun."""
        key = (tenant, model, version)
        found = self._galleries.get(key)
        if found is None:
            collection = self._collections[self._spaces[model, version]]
            made = MilvusGallery(self._connection, collection, tenant, full_dim)
            found = self._galleries.setdefault(key, made)  # atomic: threads that meet here get the same one
        return found

    def resume(self, space: GallerySpace) -> str | None:
        """Take what Milvus holds of a space. Returns: its position; None, and nothing is taken, where it has none."""
        generation = self._registry.current([space]).get(space)
        if generation is None or not self._registry.load(generation.name):
            return None
        self._take(space, generation.name)
        self._adopted[space] = generation
        return generation.position

    def begin(self, space: GallerySpace) -> None:
        """Begin a generation, which is to be filled, and which nobody else sees."""
        self._take(space, self._registry.make(space))
        self._adopted.pop(space, None)

    def finish(self, space: GallerySpace, position: str, is_good: Callable[[str], bool], grace_s: float = 0.0) -> str:
        """Make the generation that was begun the current one, and remove those before it.

        Args:
            space: whose.
            position: of the store: all changes until then are in the generation.
            is_good: whether a position that another process has finished meanwhile is as good: then that is taken.
            grace_s: before earlier ones are removed, until other processes have noticed.

        Returns: the position of what is current now.
        """
        filled = self._collections[space]
        known = self._registry.current([space]).get(space)
        if known is not None and is_good(known.position) and self.resume(space) is not None:
            self._registry.drop(filled)
            return self._adopted[space].position
        generation = Generation(filled, 0 if known is None else known.serial + 1, position)
        self._registry.write(space, generation)
        self._adopted[space] = generation
        if known is not None:
            time.sleep(grace_s)
        for name in self._registry.superseded(space, generation):
            LOGGER.info("removing %s, which %s replaces", name, filled)
            self._registry.drop(name)
        return position

    def abandon(self) -> None:
        """Remove the generations that were begun and not finished, where Milvus answers; others do so a day later."""
        for space in [space for space in self._collections if space not in self._adopted]:
            with suppress(GalleryUnavailableError):
                self._registry.drop(self._collections.pop(space))

    def remove_leftovers(self) -> int:
        """Remove what Milvus holds of bundles that are not among these. Returns: how many collections it were."""
        names = self._registry.leftovers(list(self._collections))
        for name in names:
            self._registry.drop(name)
        return len(names)

    def remember(self, position: str) -> None:
        """Note a position of the store: whoever starts later goes on from there."""
        for space, generation in self._adopted.items():
            self._adopted[space] = replace(generation, position=position)
            self._registry.write(space, self._adopted[space])

    def are_current(self) -> bool:
        """Whether no other process has made new ones; asked once a second at most, and true in between.

        Raises: GalleryUnavailableError: Milvus does not answer.
        """
        now = self._clock()
        if now - self._checked_at < CHECK_S:
            return True
        current = self._registry.current(list(self._adopted))
        for space, generation in self._adopted.items():
            if space not in current or current[space].name != generation.name:
                return False
        for gallery in [one for one in list(self._galleries.values()) if not one.is_counted][:COUNTED_AT_ONCE]:
            len(gallery)  # for whoever asks for sizes and must not wait
        self._checked_at = now
        return True

    def sizes(self) -> dict[GalleryKey, int]:
        """Subjects in each gallery when they were last counted, of those that were."""
        sizes = {key: gallery.last_size for key, gallery in list(self._galleries.items())}
        return {key: size for key, size in sizes.items() if size is not None}

    def searches(self) -> dict[GalleryKey, dict[Method, int]]:
        """Searches that this process made in each gallery so far."""
        return {key: gallery.searches() for key, gallery in list(self._galleries.items())}

    def _take(self, space: GallerySpace, collection: str) -> None:
        self._spaces[space.model, space.version] = space
        self._collections[space] = collection
        mine = (space.model, space.version)
        self._galleries = {key: one for key, one in self._galleries.items() if key[1:] != mine}


class MilvusBackend:
    """Makes galleries in one Milvus.

    Args:
        connection: to it; the caller closes it.
        prefix: that the names of all collections begin with.
        index: of the vectors: a key of matchka.gallery.milvus.registry.INDEXES.
    """

    def __init__(self, connection: MilvusConnection, prefix: str = "matchka", index: str = "flat") -> None:
        self._connection = connection
        self._registry = GenerationRegistry(connection, prefix, index)

    def galleries(self) -> MilvusGalleries:
        """Galleries that hold nothing yet: of each space they resume or begin a generation."""
        return MilvusGalleries(self._connection, self._registry)
