"""The commands of README and docs that no test runs as they stand: why, and what is checked of each instead.

Whatever is not listed here is run (sessions.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.docs.commands import dry
from tests.docs.commands.pages import Command

Check = Callable[[Command, pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class NotRun:
    """Commands that are not run.

    Attributes:
        words: what they begin with, behind the variables that they set; behind … what else is among their words.
        reason: why they cannot be run in a test.
        check: what is checked of them instead.
        page: only those of this page; of all pages where it is empty.
        slow: whether the check imports torch or starts programs.
    """

    words: str
    reason: str
    check: Check
    page: str = ""
    slow: bool = False

    def covers(self, command: Command) -> bool:
        """Whether a command is one of them."""
        begin, _, further = self.words.partition(" … ")
        wanted, words = begin.split(), dry.words_of(command.code)
        is_meant = words[: len(wanted)] == wanted and set(further.split()) <= set(words)
        return is_meant and self.page in {"", command.page}


TRAINING = "takes minutes to a night, and data that no clone has; tests/training runs it on small networks"
MEASURING = "takes data or weights that no clone has; tests/training and tests/export run it on small ones"
BUILDING = "would write into models/ and build/, which other tests read; tests/conftest.py runs it before them"
CONTAINERS = "needs a daemon; `make image-test` builds and runs the image without one"
RECORDING = "needs a microphone or a camera; tests/service/cli/capture runs it with programs in their place"
CLUSTER = "needs a cluster; tests/deploy/test_kubernetes.py renders and checks the folders"

NOT_RUN = (
    NotRun("make", "installs, trains, measures or tests for long; CI runs `make check`", dry.made, slow=True),
    NotRun("pip install", "would fetch packages; tests/test_distribution.py builds the wheel", dry.has_extras),
    NotRun("pip download", "fetches 3 GB; what is carried is installed by hand", dry.is_only_listed),
    NotRun("split", "cuts what was fetched", dry.is_only_listed),
    NotRun("cat", "joins what was carried", dry.is_only_listed, page="docs/gpu.md"),
    NotRun(".venv/bin/pip install --no-index", "installs what was carried", dry.is_only_listed),
    NotRun("python3 -m venv", "would write into .venv", dry.is_only_listed, page="docs/gpu.md"),
    NotRun(".venv/bin/python -m loadtests.gpu", "needs a GPU; tests/loadtests/gpu runs it on a CPU", dry.is_of_gpu),
    NotRun("docker build", CONTAINERS, dry.builds),
    NotRun("docker run", CONTAINERS, dry.is_contained),
    NotRun("docker compose", CONTAINERS, dry.has_files),
    NotRun("kubectl", CLUSTER, dry.is_of_kubectl),
    NotRun("haproxy", "serves until it is stopped; tests/deploy/test_haproxy.py runs it", dry.is_configured),
    NotRun("rtl_sdr", "needs a receiver; what it writes is made up for the commands behind it", dry.is_only_listed),
    NotRun("createuser", "needs the machine's own PostgreSQL; tests start one themselves", dry.is_only_listed),
    NotRun("npx", "would fetch packages; tests/end_to_end/test_typescript_client.py does the same", dry.is_only_listed),
    NotRun("matchka … --record", RECORDING, dry.parses),
    NotRun("matchka … --camera", RECORDING, dry.parses),
    NotRun("matchka serve", "there is no such Milvus", dry.parses, page="docs/milvus.md"),
    NotRun("matchka serve", "there is no such PostgreSQL", dry.parses, page="docs/postgresql.md"),
    NotRun("matchka challenge ada", "needs a microphone, and a person", dry.parses, page="docs/challenge.md"),
    NotRun("matchka-train run", TRAINING, dry.begins, slow=True),
    NotRun("matchka-train network", TRAINING, dry.begins, slow=True),
    NotRun("matchka-train experiment", TRAINING, dry.begins, slow=True),
    NotRun("matchka-train bench-cache", TRAINING, dry.begins, slow=True),
    NotRun("matchka-train words", MEASURING, dry.parses, slow=True),
    NotRun("matchka-train adopt", MEASURING, dry.parses, slow=True),
    NotRun("matchka-train evaluate", MEASURING, dry.parses, slow=True),
    NotRun("matchka-train compare", MEASURING, dry.parses, slow=True),
    NotRun("matchka-train backbones pull", "would fetch weights", dry.parses, slow=True),
    NotRun("matchka-export words", MEASURING, dry.parses),
    NotRun("matchka-export measure", MEASURING, dry.parses),
    NotRun("matchka-export measure-head", MEASURING, dry.parses),
    NotRun("matchka-export quantise", MEASURING, dry.parses),
    NotRun("matchka-export fuse", MEASURING, dry.parses),
    NotRun("matchka-export enhancer", MEASURING, dry.parses),
    NotRun("matchka-export run", MEASURING, dry.parses),
    NotRun("matchka-export defaults", BUILDING, dry.parses),
    NotRun("matchka-export samples", BUILDING, dry.parses),
)


def entries_of(command: Command) -> list[NotRun]:
    """The entries of the list that cover a command."""
    return [entry for entry in NOT_RUN if entry.covers(command)]


def is_run(command: Command) -> bool:
    """Whether a command is run as it stands."""
    return not entries_of(command)
