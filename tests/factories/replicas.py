"""Several verifiers on one database, each with a folder and galleries of its own, as replicas of a service are."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from matchka.app import opened_verifier
from matchka.settings import FeedSettings
from matchka.tasks.embedding.verifier import Verifier
from tests.factories.bundles import write_bundle
from tests.factories.small_server import small_settings

PATIENCE_S = 60.0  # of a test on a busy machine: far longer than anything here takes
Open = Callable[[], Verifier]


@contextlib.contextmanager
def replicas(folder: Path, database_url: str, **feed: float) -> Iterator[Open]:
    """Opens replicas with the bundle `voice`; they are closed at the end of the block."""
    models = folder / "models"
    if not models.exists():
        write_bundle(models / "voice")
    with contextlib.ExitStack() as stack:
        opened: list[Verifier] = []

        def another() -> Verifier:
            settings = small_settings(
                folder / f"replica {len(opened)}",
                models_dir=models,
                database_url=database_url,
                feed=FeedSettings(**{"wait_s": PATIENCE_S, **feed}),
            )
            opened.append(stack.enter_context(opened_verifier(settings)))
            opened[-1].load()
            return opened[-1]

        yield another
