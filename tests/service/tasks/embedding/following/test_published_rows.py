"""What a process fills its galleries with where another one has published its own."""

import sys
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

from matchka.gallery.faiss_cpu.shared_file import SharedFile
from matchka.gallery.faiss_cpu.shared_galleries import SharedOpener
from matchka.runtime.processes.moments import gallery_files
from matchka.tasks.embedding.following.galleries import ServedGalleries
from tests.factories.replicas import replicas
from tests.factories.samples import sample

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux'")


def test_process_that_looked_before_the_one_it_waited_for_takes_what_that_one_published(tmp_path: Path):
    files = gallery_files()
    with ExitStack() as stack:
        another = stack.enter_context(replicas(tmp_path, f"sqlite:///{tmp_path / 'matchka.sqlite'}", poll_ms=10))
        verifier = another()
        store, registry = verifier._store, verifier._embedding
        verifier.enroll("default", "voice", "ada", [sample(1)])
        earlier = store.feed.state()
        verifier.enroll("default", "voice", "ben", [sample(2)])
        openers = [stack.enter_context(closing(SharedOpener(1, SharedFile(*files), 15.0))) for _ in range(3)]
        first, second, third = (ServedGalleries(registry, store, opener) for opener in openers)
        now = store.feed.state()
        first.show(first.finish(first.fill(now, lambda _: None), now))

        taken = second.fill(earlier, lambda _: None, look_again=lambda: store.feed.state())
        assert taken.begun == ()
        assert taken.state == earlier  # from which it follows, so that nothing is missed
        second.show(second.finish(taken, earlier))
        model = next(iter(registry))
        assert len(second.of("default", model)) == 2
        probe = np.ones(8, np.float32)
        assert [of.of("default", model).search(probe, 8, 2) for of in (first, second)] == [
            first.of("default", model).search(probe, 8, 2)
        ] * 2

        alone = third.fill(earlier, lambda _: None)  # as far as it knows, those rows are of another history
        assert len(alone.begun) == 1
        alone.galleries.abandon()
