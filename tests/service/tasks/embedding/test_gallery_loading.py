"""A start fills the galleries with exactly what the store holds, whatever happened to it before."""

import random
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine, text

from matchka.bundles.manifest import Manifest
from matchka.bundles.repository import read_bundles
from matchka.errors import StorageDamagedError
from matchka.gallery.galleries import TenantGalleries
from matchka.gallery.gallery import Gallery
from matchka.store.store import Store, opened_store
from matchka.tasks.embedding.gallery_loading import load_galleries
from tests.factories.bundles import VERSION, write_bundle

DIM = 8
TENANTS, MODELS = ("a", "b"), ("face", "voice")

Key = tuple[str, str, str]  # tenant, model, subject
Held = dict[Key, dict[str, np.ndarray]]  # template id -> embedding


@pytest.fixture
def manifests(tmp_path: Path) -> list[Manifest]:
    for name in MODELS:
        write_bundle(tmp_path / "models" / name, name)
    return [bundle.manifest for bundle in read_bundles(tmp_path / "models")]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.sqlite'}"


def units(generator: np.random.Generator, count: int) -> np.ndarray:
    rows = generator.normal(size=(count, DIM))
    return (rows / np.sqrt(np.sum(rows**2, axis=1))[:, None]).astype(np.float32)


def filled(store: Store, manifests: list[Manifest]) -> tuple[dict[tuple[str, str], Gallery], int]:
    """The galleries of every tenant and model, as a start makes them, and the references put."""
    galleries = TenantGalleries()
    count = 0
    for manifest in manifests:
        count += load_galleries(
            store, manifest, lambda tenant, name=manifest.name: galleries.of(tenant, name, VERSION, DIM)
        )
    return {(t, m): galleries.of(t, m, VERSION, DIM) for t in TENANTS for m in MODELS}, count


def brute_force(held: Held, tenant: str, model: str, probe: np.ndarray) -> dict[str, float]:
    """Cosine of the probe and the mean of each subject's templates, one at a time in float64."""
    found = {}
    for (of_tenant, of_model, subject), templates in held.items():
        if (of_tenant, of_model) == (tenant, model):
            mean = sum(row.astype(np.float64) for row in templates.values()) / len(templates)
            found[subject] = float(probe @ mean / np.sqrt((probe @ probe) * (mean @ mean)))
    return found


def check(store: Store, manifests: list[Manifest], held: Held, generator: np.random.Generator) -> None:
    galleries, count = filled(store, manifests)
    assert count == len(held)
    for (tenant, model), gallery in galleries.items():
        probe = generator.normal(size=DIM)
        expected = brute_force(held, tenant, model, probe)
        found = gallery.search(probe.astype(np.float32), DIM, 100)
        names = store.references_of_keys(tenant, [c.subject_key for c in found], model, VERSION)
        assert len(gallery) == len(expected)
        similarities = {names[c.subject_key].subject_id: c.similarity for c in found}
        assert similarities == pytest.approx(expected, abs=2e-6)


def change(store: Store, held: Held, chance: random.Random, generator: np.random.Generator) -> None:
    """Enrol, add to, or delete a subject or a template, in the store and in the plain dictionary."""
    tenant, model, subject = chance.choice(TENANTS), chance.choice(MODELS), f"s{chance.randrange(12)}"
    kind = chance.random()
    if kind < 0.55 or not held:
        rows = units(generator, chance.randint(1, 3))
        ids = store.add_templates(tenant, subject, model, VERSION, rows).template_ids
        held.setdefault((tenant, model, subject), {}).update(zip(ids, rows, strict=True))
    elif kind < 0.75:
        tenant, _, subject = chance.choice(sorted(held))
        store.delete_subject(tenant, subject)
        for name in MODELS:
            held.pop((tenant, name, subject), None)
    else:
        key = chance.choice(sorted(held))
        template_id = chance.choice(sorted(held[key]))
        store.delete_template(key[0], template_id)
        del held[key][template_id]
        if not held[key]:
            del held[key]


@pytest.mark.parametrize("seed", range(2))
def test_filled_galleries_after_any_changes_and_unclean_ends_are_those_of_brute_force(
    url: str, manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch, seed: int
):
    monkeypatch.setattr("matchka.store.references.ROWS_AT_ONCE", 3)
    chance, generator = random.Random(seed), np.random.default_rng(seed)
    held: Held = {}
    opened: list[Store] = []
    for _ in range(4):
        # the one before is not closed: what it committed is in the log alone, as after a kill
        opened.append(Store(url))
        check(opened[-1], manifests, held, generator)
        for _ in range(9):
            change(opened[-1], held, chance, generator)
    for store in opened:
        store.close()
    with opened_store(url) as store:
        check(store, manifests, held, generator)


@pytest.fixture
def sixty(url: str) -> str:
    with opened_store(url) as store:
        for number, row in enumerate(units(np.random.default_rng(0), 60)):
            store.add_templates("a", f"s{number}", "voice", VERSION, row[None, :])
    return url


@pytest.mark.parametrize("change_of_one", ["digest = digest + 1", "embedding = substr(embedding, 2)", "embedding = ''"])
def test_loading_from_a_store_with_one_damaged_reference_names_it_and_ends(
    sixty: str, manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch, change_of_one: str
):
    monkeypatch.setattr(
        "matchka.store.references.ROWS_AT_ONCE", 3
    )  # more batches than wait at once, damage in the middle
    engine = create_engine(sixty)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE subject_references SET {change_of_one} WHERE subject_key = 24"))
    engine.dispose()
    with opened_store(sixty) as store, pytest.raises(StorageDamagedError) as refused:
        filled(store, manifests)
    assert refused.value.value == "the reference of subject number 24"


def test_loading_with_another_version_than_the_stored_one_puts_nothing(sixty: str, tmp_path: Path):
    write_bundle(tmp_path / "newer" / "voice", "voice", version="2.0.0+00000000")
    newer = [bundle.manifest for bundle in read_bundles(tmp_path / "newer")]
    with opened_store(sixty) as store:
        _, count = filled(store, newer)
    assert count == 0
