"""Galleries whose rows the processes of a service hold once: the first that has filled them publishes, others resume.

Each changes rows for itself, copy on write, and follows the store from the state that was published. What is removed is
overwritten in the published rows as well, by each process that applies it. See docs/decisions/216.
"""

import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import asdict
from threading import Condition, Thread
from typing import Final, TypeAlias

import numpy as np

from matchka.gallery.faiss_cpu.columns import Columns, Keys
from matchka.gallery.faiss_cpu.gallery import CpuGallery
from matchka.gallery.faiss_cpu.shared_file import Directory, Place, Region, SharedFile
from matchka.gallery.galleries import GalleryKey, GalleryOpener, TenantGalleries
from matchka.gallery.gallery import Gallery, GallerySpace
from matchka.runtime.process import give_back_memory

LOOK_S: Final = 2.0
# To apply a change takes longer than to read a subject with all others, and makes a page of its own for each
FEW_CHANGES: Final = 20_000
CHANGED_SHARE: Final = 4  # one row in as many
LOGGER: Final = logging.getLogger("matchka.gallery")

Placed: TypeAlias = dict[GalleryKey, list[Place]]


class PublishedRows:
    """What was published, as long as this process has it mapped.

    Args:
        file: that holds it.
        region: of the file.
        placed: the blocks of each gallery.
        delay_s: until rows that were replaced are overwritten: other processes have followed by then.
        clock: monotonic seconds.
    """

    def __init__(
        self, file: SharedFile, region: Region, placed: Placed, delay_s: float, clock: Callable[[], float]
    ) -> None:
        self.region = region
        self.placed = placed
        self.changed = 0
        self._file = file
        self._delay_s = delay_s
        self._clock = clock
        self._later: deque[tuple[float, GalleryKey, Keys]] = deque()

    def forget(self, gallery: GalleryKey, subject_keys: Keys) -> None:
        """Overwrite the rows of some subjects."""
        self.changed += self._overwrite(gallery, subject_keys)

    def forget_later(self, gallery: GalleryKey, subject_keys: Keys) -> None:
        """Overwrite them after the delay; those that are new count as changes, too: who comes later applies them."""
        self.changed += len(subject_keys)
        self._later.append((self._clock() + self._delay_s, gallery, subject_keys))

    def forget_due(self) -> None:
        """Overwrite what is due, and tell how much has changed."""
        due: dict[GalleryKey, list[Keys]] = defaultdict(list)
        while self._later and self._later[0][0] <= self._clock():
            _, gallery, subject_keys = self._later.popleft()
            due[gallery].append(subject_keys)
        for gallery, keys in due.items():
            self._overwrite(gallery, np.concatenate(keys))
        self._file.note_changed(self.changed)

    def _overwrite(self, gallery: GalleryKey, subject_keys: Keys) -> int:
        return sum(self.region.forget(place, subject_keys) for place in self.placed.get(gallery, []))


class GalleryRows:
    """Those of one gallery; see SharedRows."""

    def __init__(self, of: PublishedRows, gallery: GalleryKey) -> None:
        self._of = of
        self._gallery = gallery

    def forget(self, subject_key: int) -> None:
        """Overwrite a subject's, at once."""
        self._of.forget(self._gallery, np.array([subject_key]))

    def forget_later(self, subject_keys: Keys) -> None:
        """Overwrite those of some subjects when all processes will have written others in their place."""
        self._of.forget_later(self._gallery, subject_keys.copy())


class SharedOpener(GalleryOpener):
    """Makes galleries that processes share.

    Args:
        threads: that share one search of a large gallery.
        file: of all processes.
        delay_s: processes have followed a change after so long, or say that they have not.
        clock: monotonic seconds.
    """

    def __init__(
        self, threads: int, file: SharedFile, delay_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(threads)
        self.file = file
        self._delay_s = delay_s
        self._clock = clock
        self._rows: PublishedRows | None = None
        self._closing = Condition()
        self._is_closing = False
        self._keeper = Thread(target=self._keep, name="gallery-rows", daemon=True)
        self._keeper.start()

    def galleries(self) -> "SharedGalleries":
        """Galleries that hold nothing yet."""
        return SharedGalleries(self)

    def map(self, start: int, end: int, placed: Placed) -> PublishedRows:
        """Map rows, and have others know; while no other process fills galleries."""
        self.file.use()
        self._rows = PublishedRows(self.file, Region(self.file.rows, start, end), placed, self._delay_s, self._clock)
        return self._rows

    def step_back(self) -> None:
        """Let others remove the rows that this process has mapped: it is about to look for newer ones."""
        self._rows = None
        self.file.leave()

    def give_up(self) -> bool:
        """Have nothing to do with published rows any more. Returns: whether no process has, and they are gone."""
        self._rows = None
        return self.file.wiped_when_unused()

    def look(self) -> None:
        """Overwrite what is due; remove rows whose last user was killed."""
        rows = self._rows
        if rows is not None:
            rows.forget_due()
        else:
            self.file.wipe_when_idle(lambda: self._rows is None)

    def close(self) -> None:
        """Stop looking."""
        with self._closing:
            self._is_closing = True
            self._closing.notify_all()
        self._keeper.join()

    def _keep(self) -> None:
        while True:
            with self._closing:
                if self._closing.wait_for(lambda: self._is_closing, LOOK_S):
                    return
            try:
                self.look()
            except OSError:
                LOGGER.exception("rows of galleries that processes share cannot be changed")


class SharedGalleries(TenantGalleries):
    """Galleries by tenant, model and version, which take published rows or publish their own.

    Args: opener: makes them.
    """

    def __init__(self, opener: SharedOpener) -> None:
        super().__init__(opener)
        self._shared = opener
        self._rows: PublishedRows | None = None
        self._directory: Directory | None = None
        self._begun: list[GallerySpace] = []  # to be published
        self._finished: list[GallerySpace] = []
        self._is_apart = False  # what it fills is for this process alone, and not published
        self._is_filler = False

    def of(self, tenant: str, model: str, version: str, full_dim: int) -> Gallery:
        """The gallery of a tenant, model and version; changes of those that were not published are counted, too."""
        gallery = super().of(tenant, model, version, full_dim)
        if self._rows is not None and isinstance(gallery, CpuGallery) and gallery.shared is None:
            gallery.shared = GalleryRows(self._rows, (tenant, model, version))
        return gallery

    def resume(self, space: GallerySpace) -> str | None:
        """Take the rows that another process has published; waits while one fills galleries."""
        if self._begun or self._is_apart:
            return None
        if self._directory is None:
            self._shared.step_back()
            self._is_apart = not self._begin_filling()
            found = None if self._is_apart else self._found()
            if found is None:
                return None  # this process fills them: the others wait
            self._rows = self._shared.map(found["start"], found["end"], _placed(found))
            self._directory = found
            self._end_filling()
        published = next((one for one in self._directory["spaces"] if one["space"] == _named(space)), None)
        if published is None or self._rows is None:
            return None
        self._take(space, self._rows)
        return str(published["position"])

    def begin(self, space: GallerySpace) -> None:
        """Begin to fill a space: what was published of it, if anything, is of no use to this process.

        Where another space has been resumed, this one is for this process alone, and that one stays what it is.
        """
        for key in [key for key in self._galleries if key[1:] == (space.model, space.version)]:
            del self._galleries[key]
        if not self._begun:
            self._is_apart = self._is_apart or bool(self._galleries) or not self._begin_filling()
            if self._is_apart:
                return
            self._shared.give_up()
            self._rows = None
        self._begun.append(space)

    def finish(self, space: GallerySpace, position: str, is_good: Callable[[str], bool], grace_s: float = 0.0) -> str:  # noqa: ARG002
        """End filling a space; with the last one publish all of them, unless others use what was published before."""
        if space in self._begun:
            self._finished.append(space)
            if len(self._finished) == len(self._begun):
                try:
                    if self._shared.give_up():
                        self._publish(position)
                finally:
                    self._end_filling()
        return position

    def abandon(self) -> None:
        """Let another process fill them."""
        self._end_filling()

    def _begin_filling(self) -> bool:
        self._is_filler = self._is_filler or self._shared.file.begin_filling()
        return self._is_filler

    def _end_filling(self) -> None:
        if self._is_filler:
            self._is_filler = False
            self._shared.file.end_filling()

    def _found(self) -> Directory | None:
        """What was published, if it is still worth following."""
        found = self._shared.file.directory()
        is_much = found is not None and self._shared.file.changed > FEW_CHANGES + found["rows"] // CHANGED_SHARE
        return None if is_much else found

    def _publish(self, position: str) -> None:
        began = time.perf_counter()
        file = self._shared.file
        of_each = {key: gallery for key, gallery in self._galleries.items() if isinstance(gallery, CpuGallery)}
        blocks = [(key, block) for key, gallery in of_each.items() for block in gallery.blocks]
        dims = {(space.model, space.version): space.full_dim for space in self._begun}
        start, end, places = file.extend(
            [Place(0, len(block.columns.keys), dims[key[1:]], len(block)) for key, block in blocks]
        )
        placed: Placed = {key: [] for key in of_each}
        for (key, _), place in zip(blocks, places, strict=True):
            placed[key].append(place)
        try:
            rows = self._rows = self._shared.map(start, end, placed)
            for key, gallery in of_each.items():  # first of all: whatever is written is then overwritten by a removal
                gallery.shared = GalleryRows(rows, key)
            for key, gallery in of_each.items():
                sizes = [place.size for place in placed[key]]
                gallery.share(GalleryRows(rows, key), sizes, _moved(file, rows, gallery, placed[key]))
            spaces = [{"space": _named(space), "position": position} for space in self._begun]
            known = [[*key, [asdict(place) for place in of]] for key, of in placed.items()]
            count = sum(place.size for place in places)
            file.publish({"start": start, "end": end, "rows": count, "spaces": spaces, "galleries": known})
        except OSError as error:  # what was moved is in use, and others hold rows of their own
            LOGGER.warning("galleries are not shared with the other processes: %s", error.strerror)
            return
        give_back_memory()
        seconds = time.perf_counter() - began
        LOGGER.info("%d references are shared with the other processes, in %.1f s", count, seconds)

    def _take(self, space: GallerySpace, rows: PublishedRows) -> None:
        began, count = time.perf_counter(), 0
        for key, places in rows.placed.items():
            gallery = self.of(*key, space.full_dim) if key[1:] == (space.model, space.version) else None
            if isinstance(gallery, CpuGallery):
                sizes = [place.size for place in places]
                gallery.share(GalleryRows(rows, key), sizes, map(rows.region.columns, places))
                count += sum(sizes)
        seconds = time.perf_counter() - began
        LOGGER.info("%d references of another process were taken in %.1f s", count, seconds)


def _placed(found: Directory) -> Placed:
    return {
        (tenant, model, version): [Place(**place) for place in places]
        for tenant, model, version, places in found["galleries"]
    }


def _moved(file: SharedFile, rows: PublishedRows, gallery: CpuGallery, places: list[Place]) -> Iterator[Columns]:
    """Columns with the rows of a gallery's blocks, one after the other: its own are given up in between."""
    for block, place in zip(gallery.blocks, places, strict=True):
        file.write(place, block.columns)
        yield rows.region.columns(place)


def _named(space: GallerySpace) -> dict[str, object]:
    return {**asdict(space), "newer": list(space.newer)}
