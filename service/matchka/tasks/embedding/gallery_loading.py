"""Fills galleries with every reference of the store."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Final

from matchka.bundles.manifest import Manifest
from matchka.gallery.gallery import Gallery
from matchka.store.references import StoredReferences
from matchka.store.store import Store

MOST_WAITING: Final = 8  # batches read and not yet put: a few MB
LOGGER: Final = logging.getLogger("matchka")


def load_galleries(
    store: Store,
    manifest: Manifest,
    gallery_of: Callable[[str], Gallery],
    unless: Sequence[str] = (),
    progress: Callable[[int], None] = lambda _references: None,
) -> int:
    """Put every reference of a model into its tenants' galleries: one thread reads, another checks and puts.

    Args:
        store: the system of record.
        manifest: the model's.
        gallery_of: the gallery of a tenant.
        unless: versions; subjects that have a reference of one of them are left out.
        progress: called with references as they are put, how many more.

    Returns: references put.

    Raises: StorageDamagedError: a reference is not what was stored.
    """
    started = time.perf_counter()
    count = 0
    waiting: deque[Future[None]] = deque()

    def put(batch: StoredReferences) -> None:
        gallery_of(batch.tenant).put(batch.keys, batch.rows())
        progress(len(batch.keys))

    with (
        ThreadPoolExecutor(1, thread_name_prefix="fill") as putter,
        closing(store.all_references(manifest.name, manifest.version, unless)) as batches,
    ):
        for batch in batches:
            waiting.append(putter.submit(put, batch))
            count += len(batch.keys)
            if len(waiting) > MOST_WAITING:
                waiting.popleft().result()
        for future in waiting:
            future.result()
    LOGGER.info("%s %s: %d references in %.1f s", manifest.name, manifest.version, count, time.perf_counter() - started)
    return count
