"""Follower: applies the store's changes to the galleries; a subject is in that of the newest version it has."""

from collections import defaultdict
from functools import partial

from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.gallery.faiss_cpu.policy import Method
from matchka.gallery.galleries import GalleryOpener, TenantGalleries
from matchka.gallery.gallery import Gallery
from matchka.inference.model import Model
from matchka.inference.registry import ModelRegistry
from matchka.store.store import Store
from matchka.tasks.embedding.gallery_loading import load_galleries


class GalleryFollower:
    """Loads galleries, applies each change to them, and counts subjects without a template of a current version.

    The caller makes its changes one at a time, in the order in which the store committed them.

    Args:
        registry: the models.
        store: the system of record.
        opener: makes galleries; on the CPU by default.
    """

    def __init__(self, registry: ModelRegistry, store: Store, opener: GalleryOpener | None) -> None:
        self._registry = registry
        self._store = store
        self._galleries = TenantGalleries(opener)
        # keyed by tenant and model: keys of subjects that have templates of other versions than the current one only
        self._outdated: dict[tuple[str, str], set[int]] = defaultdict(set)

    def fill(self, model: Model) -> None:
        """Fill the galleries of a model from the store, with the subjects that have no newer version that is served.

        Raises: StorageDamagedError: a reference is not what was stored.
        """
        name, version = model.manifest.name, model.manifest.version
        known = [other.manifest.version for other in self._registry.versions(name)]
        newer = known[: known.index(version)]
        load_galleries(self._store, model.manifest, partial(self.of, model=model), newer)
        if not newer:
            for tenant, key in self._store.subjects_without(name, version):
                self._outdated[tenant, name].add(key)

    def of(self, tenant: str, model: Model) -> Gallery:
        """The gallery of a tenant and model."""
        manifest = model.manifest
        return self._galleries.of(tenant, manifest.name, manifest.version, manifest.output(EmbeddingOutput).full_dim)

    def apply_change(self, tenant: str, subject_key: int, name: str) -> None:
        """Put a subject into the gallery of the newest served version that it has, and take it out of all others."""
        versions = self._registry.versions(name)
        if not versions:
            return  # templates of a model that is not served are in no gallery
        references = self._store.references_by_version(subject_key, name)
        chosen = next((model for model in versions if model.manifest.version in references), None)
        # entered first, then removed: a search in between sees the subject, and counts it in the newer version only
        if chosen is not None:
            self.of(tenant, chosen).put([subject_key], references[chosen.manifest.version][None, :])
        for model in versions:
            if model is not chosen:
                self.of(tenant, model).remove(subject_key)
        if references and versions[0].manifest.version not in references:
            self._outdated[tenant, name].add(subject_key)
        else:
            self._outdated[tenant, name].discard(subject_key)

    def remove(self, tenant: str, subject_key: int) -> None:
        """Take a subject out of every gallery."""
        for model in self._registry:
            self.of(tenant, model).remove(subject_key)
            self._outdated[tenant, model.manifest.name].discard(subject_key)

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
