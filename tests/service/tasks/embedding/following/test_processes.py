"""Two processes on one database: each shows what the other has changed, to a client that goes from one to the other."""

import contextlib
from pathlib import Path

import pytest

from tests.factories.bundles import write_bundle
from tests.factories.databases import UnderTest
from tests.factories.samples import sample
from tests.factories.server_process import start, stop


@pytest.mark.slow
def test_client_between_two_processes_finds_whom_it_enrolled_and_nobody_whom_it_deleted(
    tmp_path: Path, database: UnderTest
):
    write_bundle(tmp_path / "models" / "voice")
    variables = {"MATCHKA_DATABASE_URL": database.url}
    with contextlib.ExitStack() as stack:
        clients = []
        for name in ("one", "other"):
            running = start(tmp_path / "models", tmp_path / name, variables=variables)
            stack.callback(stop, running.process)
            clients.append(stack.enter_context(running.client()))
        here, there = clients
        there._positions = here._positions  # as behind a proxy: one client, two processes
        for person in range(30):
            here.enroll(f"p{person}", [sample(person)])
            assert there.identify(sample(person, 1)).candidates[0].subject_id == f"p{person}"
            here, there = there, here
        for person in range(30):
            here.delete_subject(f"p{person}")
            found = there.identify(sample(person, 1))
            assert f"p{person}" not in {one.subject_id for one in found.candidates}
            assert found.gallery_size == 29 - person
            here, there = there, here
