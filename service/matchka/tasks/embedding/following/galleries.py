"""The galleries of the served models, as changes of the store reach them: one for each version a subject can have."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np

from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.gallery.faiss_cpu.policy import Method
from matchka.gallery.galleries import GalleryOpener, TenantGalleries
from matchka.gallery.gallery import Gallery
from matchka.inference.model import Model
from matchka.inference.registry import ModelRegistry
from matchka.store.feed.feed import Change, FeedLook
from matchka.store.store import Store
from matchka.tasks.embedding.gallery_loading import load_galleries
from matchka.vectors import FloatArray

LOGGER: Final = logging.getLogger("matchka")


class ServedGalleries:
    """A subject is in the gallery of the newest served version it has; counted are those without the current one.

    The follower alone fills and changes them; anybody may read them meanwhile.

    Args:
        registry: the models that embed.
        store: the system of record.
        opener: makes galleries; on the CPU by default.
    """

    def __init__(self, registry: ModelRegistry, store: Store, opener: GalleryOpener | None = None) -> None:
        self._registry = registry
        self._store = store
        self._opener = opener or GalleryOpener()
        self._galleries = TenantGalleries(self._opener)
        # keyed by tenant and model: keys of subjects that have templates of other versions than the current one only
        self._outdated: dict[tuple[str, str], set[int]] = defaultdict(set)

    def fill(self, progress: Callable[[int], None]) -> None:
        """Fill new galleries with all that the store holds, and have them take the place of those that are there.

        Args: progress: called with references as they are put, how many more.

        Raises: StorageDamagedError: a reference is not what was stored.
        """
        galleries, outdated = TenantGalleries(self._opener), defaultdict[tuple[str, str], set[int]](set)
        for model in self._registry:
            name, version = model.manifest.name, model.manifest.version
            known = [other.manifest.version for other in self._registry.versions(name)]
            newer = known[: known.index(version)]
            load_galleries(self._store, model.manifest, partial(_of, galleries, model), newer, progress)
            if not newer:
                for tenant, key in self._store.subjects_without(name, version):
                    outdated[tenant, name].add(key)
        self._galleries, self._outdated = galleries, outdated

    def of(self, tenant: str, model: Model) -> Gallery:
        """The gallery of a tenant and model."""
        return _of(self._galleries, model, tenant)

    def apply(self, changes: Iterable[Change], look: FeedLook) -> None:
        """Put subjects that have changed into the gallery of the newest served version they have, and into no other.

        What the store holds of them now is read again, so that to apply a change twice, or late, does no harm.

        Args:
            changes: of subjects of any tenant.
            look: at the store.
        """
        by_model: dict[tuple[str, str], dict[int, None]] = defaultdict(dict)
        for change in changes:
            for name in self._registry.names if change.model is None else [change.model]:
                by_model[change.tenant, name][change.subject_key] = None
        for (tenant, name), keys in by_model.items():
            if self._registry.versions(name):  # templates of a model that is not served are in no gallery
                self._apply(tenant, name, list(keys), look)

    def _apply(self, tenant: str, name: str, keys: Sequence[int], look: FeedLook) -> None:
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
                self.of(tenant, model).put(mine, rows)
        for model in versions:
            gallery = self.of(tenant, model)
            for key in keys:
                if chosen[key] is not model:
                    gallery.remove(key)
        outdated = self._outdated[tenant, name]
        for key in keys:
            if references[key] and versions[0].manifest.version not in references[key]:
                outdated.add(key)
            else:
                outdated.discard(key)

    def subjects_to_reenroll(self) -> dict[tuple[str, str], int]:
        """Subjects without a template of the current version, keyed by tenant and model."""
        return {key: len(keys) for key, keys in list(self._outdated.items())}

    def sizes(self) -> dict[tuple[str, str], int]:
        """Subjects in the galleries of all versions together, keyed by tenant and model."""
        sizes: dict[tuple[str, str], int] = {}
        for (tenant, model, _), size in self._galleries.sizes().items():
            sizes[tenant, model] = sizes.get((tenant, model), 0) + size
        return sizes

    def searches(self) -> dict[tuple[str, str, Method], int]:
        """Searches in the galleries of all versions together, keyed by tenant, model and method."""
        searches: dict[tuple[str, str, Method], int] = {}
        for (tenant, model, _), counts in self._galleries.searches().items():
            for method, count in counts.items():
                searches[tenant, model, method] = searches.get((tenant, model, method), 0) + count
        return searches


def _of(galleries: TenantGalleries, model: Model, tenant: str) -> Gallery:
    manifest = model.manifest
    return galleries.of(tenant, manifest.name, manifest.version, manifest.output(EmbeddingOutput).full_dim)


def _newest(versions: Sequence[Model], references: Mapping[str, FloatArray]) -> Model | None:
    return next((model for model in versions if model.manifest.version in references), None)
