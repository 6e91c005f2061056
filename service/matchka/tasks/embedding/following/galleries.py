"""The galleries of the served models, as changes of the store reach them: one for each version a subject can have."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Protocol

import numpy as np

from matchka.bundles.manifest import Manifest
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.gallery.faiss_cpu.policy import Method
from matchka.gallery.galleries import Galleries, GalleryBackend, GalleryOpener
from matchka.gallery.gallery import Gallery, GallerySpace
from matchka.store.feed.feed import Change, FeedLook, FeedState
from matchka.store.store import Store
from matchka.tasks.embedding.following.remembered import SecondApplication, earliest, from_text, to_text
from matchka.tasks.embedding.gallery_loading import load_galleries
from matchka.vectors import FloatArray

PREFIXES: Final = "Unless it was restored, two stores share a MATCHKA_MILVUS__PREFIX: each needs one of its own"
LOGGER: Final = logging.getLogger("matchka")


class Versioned(Protocol):
    """One version of a model."""

    @property
    def manifest(self) -> Manifest:
        """What it is."""
        ...


class Registry(Protocol):
    """The versions of each model that embed, the current one first."""

    def __iter__(self) -> Iterator[Versioned]: ...

    @property
    def names(self) -> list[str]:
        """Of the models."""
        ...

    def versions(self, name: str) -> Sequence[Versioned]:
        """Of one model; none of one that is not there."""
        ...


@contextmanager
def abandoned_on_failure(galleries: Galleries) -> Iterator[None]:
    """Leave nothing of galleries whose filling does not come to its end."""
    try:
        yield
    except BaseException:  # an interruption of a command, too
        galleries.abandon()
        raise


def looks(state: FeedState, look_again: Callable[[], FeedState] | None) -> Iterator[FeedState]:
    """A state, and what a second look finds, which is had only when the first was not enough."""
    yield state
    if look_again is not None:
        yield look_again()


@dataclass(frozen=True)
class Content:
    """What is searched.

    Attributes:
        state: of the store: every change until then is in the galleries.
        outdated: keyed by tenant and model: keys of subjects that have templates of other versions than the current one
            only.
        begun: spaces that were filled and are not finished.
    """

    galleries: Galleries
    state: FeedState | None = None
    outdated: dict[tuple[str, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    begun: tuple[GallerySpace, ...] = ()


class ServedGalleries:
    """A subject is in the gallery of the newest served version it has; counted are those without the current one.

    The follower alone fills and changes them; anybody may read them meanwhile.

    Args:
        registry: the models that embed.
        store: the system of record.
        backend: makes galleries; in memory and searched on the CPU by default.
        second: applications of changes to galleries that others change, too.
    """

    def __init__(
        self,
        registry: Registry,
        store: Store,
        backend: GalleryBackend | None = None,
        second: SecondApplication | None = None,
    ) -> None:
        self._registry = registry
        self._store = store
        self._backend = backend or GalleryOpener()
        self._shown = Content(self._backend.galleries())
        self._second = second or SecondApplication()

    @property
    def is_shared(self) -> bool:
        """Whether other processes change them, too; see Galleries.is_shared."""
        return self._shown.galleries.is_shared

    def fill(
        self,
        state: FeedState,
        progress: Callable[[int], None],
        *,
        anew: bool = False,
        look_again: Callable[[], FeedState] | None = None,
    ) -> Content:
        """Resume what is kept, and fill with all that the store holds what is not; shown by show().

        Args:
            state: of the store, as it was just now.
            progress: called with references as they are put, how many more.
            anew: resume nothing.
            look_again: the store's state by now: what is kept may be newer than `state`, as others were waited for.

        Raises:
            StorageDamagedError: a reference is not what was stored.
            GalleryUnavailableError: the galleries cannot be reached.
        """
        content = Content(self._backend.galleries())
        states, begun = [state], []
        with abandoned_on_failure(content.galleries):
            for model in self._registry:
                space = self._space_of(model)
                kept = None if anew else content.galleries.resume(space)
                is_foreign = kept is not None and from_text(kept).identity != state.identity
                if is_foreign and content.galleries.is_shared:
                    LOGGER.warning("%s: the galleries there were another store's. %s", space.model, PREFIXES)
                if kept is not None and any(now.follows(from_text(kept)) for now in looks(state, look_again)):
                    states.append(from_text(kept))
                    for tenant in self._store.tenants():
                        _of(content.galleries, model, tenant)  # to be counted
                else:
                    content.galleries.begin(space)
                    gallery_of = partial(_of, content.galleries, model)
                    load_galleries(self._store, model.manifest, gallery_of, space.newer, progress)
                    begun.append(space)
                if not space.newer:
                    for tenant, key in self._store.subjects_without(space.model, space.version):
                        content.outdated[tenant, space.model].add(key)
        return replace(content, state=earliest(states), begun=tuple(begun))

    def finish(self, content: Content, state: FeedState, *, anew: bool = False, grace_s: float = 0.0) -> Content:
        """Have what was filled take the place of what was kept before.

        Args:
            content: that was filled.
            state: of the store: all changes until then are in what was filled.
            anew: never take what another process has filled meanwhile.
            grace_s: for so long other processes may go on with what was kept before.
        """

        def is_good(position: str) -> bool:
            return not anew and state.follows(from_text(position))

        with abandoned_on_failure(content.galleries):
            texts = [content.galleries.finish(space, to_text(state), is_good, grace_s) for space in content.begun]
        states = [content.state or state, *map(from_text, texts)]
        return replace(content, state=earliest(states), begun=())

    def show(self, content: Content) -> None:
        """Have the galleries of a content take the place of those that are searched."""
        self._shown = content
        if content.state is not None:
            self._second.begin(content.state)

    def are_current(self) -> bool:
        """Whether no other process has filled them anew.

        Raises: GalleryUnavailableError: they cannot be reached.
        """
        return self._shown.galleries.are_current()

    def settle(self, look: FeedLook, state: FeedState) -> None:
        """To be called when all changes until a state are applied: see SecondApplication."""
        due = self._second.due() if self.is_shared else None
        if due is None:
            return
        since, until = due
        if until != since:
            for changes, _ in look.changes(since.snapshot, until.snapshot):
                self.apply(changes, look)
            self._shown.galleries.remember(to_text(until))
        self._second.note(state)

    def of(self, tenant: str, model: Versioned) -> Gallery:
        """The gallery of a tenant and model."""
        return _of(self._shown.galleries, model, tenant)

    def apply(self, changes: Iterable[Change], look: FeedLook, content: Content | None = None) -> None:
        """Put subjects that have changed into the gallery of the newest served version they have, and into no other.

        What the store holds of them now is read again, so that to apply a change twice, or late, does no harm.

        Args:
            changes: of subjects of any tenant.
            look: at the store.
            content: whose galleries; those that are shown by default.
        """
        content = content or self._shown
        by_model: dict[tuple[str, str], dict[int, None]] = defaultdict(dict)
        for change in changes:
            for name in self._registry.names if change.model is None else [change.model]:
                by_model[change.tenant, name][change.subject_key] = None
        for (tenant, name), keys in by_model.items():
            if self._registry.versions(name):  # templates of a model that is not served are in no gallery
                self._apply(content, tenant, name, list(keys), look)

    def _apply(self, content: Content, tenant: str, name: str, keys: Sequence[int], look: FeedLook) -> None:
        versions = self._registry.versions(name)
        found = look.references(tenant, keys, name)
        damaged = [key for key in keys if found.get(key, {}) is None]
        if damaged:
            LOGGER.error("%d references of %s are not what was stored; they are found no more", len(damaged), name)
        references = {key: found.get(key) or {} for key in keys}
        chosen = {key: _newest(versions, references[key]) for key in keys}
        # entered first, then removed: a search in between sees the subject, and counts it in the newer version only
        for model in versions:
            mine = [key for key in keys if chosen[key] is model]
            if mine:
                rows = np.stack([references[key][model.manifest.version] for key in mine])
                _of(content.galleries, model, tenant).put(mine, rows)
        for model in versions:
            gallery = _of(content.galleries, model, tenant)
            for key in keys:
                if chosen[key] is not model:
                    gallery.remove(key)
        outdated = content.outdated[tenant, name]
        for key in keys:
            if references[key] and versions[0].manifest.version not in references[key]:
                outdated.add(key)
            else:
                outdated.discard(key)

    def subjects_to_reenroll(self) -> dict[tuple[str, str], int]:
        """Subjects without a template of the current version, keyed by tenant and model."""
        return {key: len(keys) for key, keys in list(self._shown.outdated.items())}

    def sizes(self) -> dict[tuple[str, str], int]:
        """Subjects in the galleries of all versions together, keyed by tenant and model."""
        sizes: dict[tuple[str, str], int] = {}
        for (tenant, model, _), size in self._shown.galleries.sizes().items():
            sizes[tenant, model] = sizes.get((tenant, model), 0) + size
        return sizes

    def searches(self) -> dict[tuple[str, str, Method], int]:
        """Searches in the galleries of all versions together, keyed by tenant, model and method."""
        searches: dict[tuple[str, str, Method], int] = {}
        for (tenant, model, _), counts in self._shown.galleries.searches().items():
            for method, count in counts.items():
                searches[tenant, model, method] = searches.get((tenant, model, method), 0) + count
        return searches

    def _space_of(self, model: Versioned) -> GallerySpace:
        name, version = model.manifest.name, model.manifest.version
        known = [other.manifest.version for other in self._registry.versions(name)]
        newer = tuple(known[: known.index(version)])
        return GallerySpace(name, version, newer, model.manifest.output(EmbeddingOutput).full_dim)


def _of(galleries: Galleries, model: Versioned, tenant: str) -> Gallery:
    manifest = model.manifest
    return galleries.of(tenant, manifest.name, manifest.version, manifest.output(EmbeddingOutput).full_dim)


def _newest(versions: Sequence[Versioned], references: Mapping[str, FloatArray]) -> Versioned | None:
    return next((model for model in versions if model.manifest.version in references), None)
