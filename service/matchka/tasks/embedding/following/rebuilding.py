"""Filling galleries anew beside those that are searched, by a process that serves nothing."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from matchka.store.feed.feed import ChangeFeed
from matchka.tasks.embedding.following.galleries import ServedGalleries, Versioned, abandoned_on_failure


class VersionsByName:
    """The versions of models by name, which nobody has to open for it.

    Args: versions: of each model the current one first.
    """

    def __init__(self, versions: Iterable[Versioned]) -> None:
        self._by_name: dict[str, list[Versioned]] = defaultdict(list)
        for one in versions:
            self._by_name[one.manifest.name].append(one)

    def __iter__(self) -> Iterator[Versioned]:
        """Every version of every model, by name."""
        return (one for name in self.names for one in self._by_name[name])

    @property
    def names(self) -> list[str]:
        """Of the models."""
        return sorted(self._by_name)

    def versions(self, name: str) -> Sequence[Versioned]:
        """Of one model, the current one first."""
        return tuple(self._by_name.get(name, ()))


@dataclass(frozen=True)
class RebuildReport:
    """What was done. Attributes: others_removed: collections of bundles that are not among those rebuilt."""

    references: int
    others_removed: int
    seconds: float


def rebuild(
    galleries: ServedGalleries,
    feed: ChangeFeed,
    progress: Callable[[int], None],
    grace_s: float,
    keep_others: bool = False,
) -> RebuildReport:
    """Fill anew, switch, and remove what was there before.

    What changes meanwhile is applied before the switch; what changes after that, by the services, from the position
    that is kept with it.

    Args:
        galleries: that nobody searches by this process.
        feed: of their store; the caller closes it.
        progress: called as references are put, with how many they are by then.
        grace_s: between the switch and the removal.
        keep_others: leave what is kept of other bundles than these.

    Raises:
        StorageDamagedError: a reference is not what was stored.
        GalleryUnavailableError: the galleries cannot be reached.
    """
    began, count = time.perf_counter(), 0

    def add(references: int) -> None:
        nonlocal count
        count += references
        progress(count)

    before = feed.state()
    content = galleries.fill(before, add, anew=True)
    with abandoned_on_failure(content.galleries), feed.look() as look:
        state = look.state()
        for changes, _ in look.changes(before.snapshot, state.snapshot):
            galleries.apply(changes, look, content)
    galleries.finish(content, state, anew=True, grace_s=grace_s)
    others = 0 if keep_others else content.galleries.remove_leftovers()
    return RebuildReport(count, others, time.perf_counter() - began)
