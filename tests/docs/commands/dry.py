"""Commands up to where their work would begin: their own parsers read what a page says, and nothing is done."""

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from functools import cache
from itertools import pairwise

import pytest
from rich.progress import Progress
from typer import Typer
from typer.core import TyperCommand
from typer.testing import CliRunner

from matchka.cli.main import app as matchka
from matchka_export.__main__ import app as matchka_export
from tests.docs.commands.pages import PLACEHOLDER, Command
from tests.factories.checkout import ROOT

LIMIT_S = 60


@cache
def matchka_train() -> Typer:
    """The command line of training, with the commands of other packages; it imports torch."""
    from matchka_train.cli.further_commands import add_commands
    from matchka_train.cli.train import app

    add_commands(app)
    return app


PROGRAMS: Mapping[str, Callable[[], Typer]] = {
    "matchka": lambda: matchka,
    "matchka-export": lambda: matchka_export,
    "matchka-train": matchka_train,
}


class BegunError(Exception):
    """The command has read all that it was given, and would begin to work."""


def words_of(command: str) -> list[str]:
    """The words of a simple command, without the variables that it sets; PLACEHOLDER for what the reader fills in."""
    text = PLACEHOLDER.sub("PLACEHOLDER", command)
    try:
        words = shlex.split(text)
    except ValueError:  # a quote without its end: the shell will say so
        words = text.split()
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    return words


def parsed(words: list[str], patch: pytest.MonkeyPatch) -> None:
    """Let the program's own parser read a command, and do nothing.

    Raises: AssertionError: it refuses the command.
    """
    begin = TyperCommand.invoke

    def invoke(self: TyperCommand, context: object) -> object:
        # a command that passes all its arguments on to another one, which reads them
        return begin(self, context) if self.context_settings.get("ignore_unknown_options") else None

    patch.setattr(TyperCommand, "invoke", invoke)
    _run(words, accepted=())


def begun(words: list[str], patch: pytest.MonkeyPatch) -> None:
    """Run a command of training until it shows its progress: then recipe, overrides and settings have been read.

    Raises: AssertionError: the command refuses what it was given, or ends before that.
    """

    def start(_progress: Progress) -> None:
        raise BegunError

    patch.setattr(Progress, "start", start)
    patch.chdir(ROOT)
    _run(words, accepted=(BegunError,))


def _run(words: list[str], accepted: tuple[type[Exception], ...]) -> None:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(PROGRAMS[words[0]](), words[1:])
    if accepted:
        assert isinstance(done.exception, accepted), f"{done.exception!r}\n{done.output}"
    else:
        assert done.exit_code == 0, f"{done.exception!r}\n{done.output}"


def options_known(words: list[str]) -> str:
    """Why a program does not know a command and its options, whatever their values are; empty where it does."""
    first = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    asked = [*words[1:first], "--help", *words[first:]]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(PROGRAMS[words[0]](), asked)
    is_known = done.exit_code == 0 or "requires an argument" in done.output
    return "" if is_known else done.output.strip() or repr(done.exception)


def parses(command: Command, patch: pytest.MonkeyPatch) -> None:
    """The program's parser takes it."""
    parsed(words_of(command.code), patch)


def begins(command: Command, patch: pytest.MonkeyPatch) -> None:
    """It reads its recipe and what is changed of it, and would begin."""
    begun(words_of(command.code), patch)


def made(command: Command, _patch: pytest.MonkeyPatch) -> None:
    """Make knows the target, and every variable that is set is one of the Makefile's."""
    words = words_of(command.code)
    known = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in [word.partition("=")[0] for word in words[1:] if "=" in word]:
        assert re.search(rf"\$[({{]{name}\b|,{name}\b", known), f"the Makefile asks for no {name}"
    done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for options in re.findall(r"-m loadtests\.gpu(?: (.*))?$", done.stdout, re.MULTILINE):
        measured(shlex.split(options))


def measured(options: list[str]) -> None:
    """The parser of the measurements on a GPU takes options.

    Raises: AssertionError: it refuses them.
    """
    from loadtests.gpu.__main__ import parser

    told = io.StringIO()
    try:
        with redirect_stderr(told):
            parser().parse_args(options)
    except SystemExit as error:
        raise AssertionError(told.getvalue()) from error


def is_of_gpu(command: Command, _patch: pytest.MonkeyPatch) -> None:
    """The measurements on a GPU take the options."""
    words = words_of(command.code)
    measured(words[words.index("loadtests.gpu") + 1 :])


def has_extras(command: Command, _patch: pytest.MonkeyPatch) -> None:
    """The extras that pip is asked for are those of the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for word in words_of(command.code)[2:]:
        found = re.fullmatch(r"(\.|matchka)(?:\[([\w,]+)\])?", word)
        assert found, f"{word} is not this package"
        assert set((found.group(2) or "").split(",")) - {""} <= project["optional-dependencies"].keys()


def builds(command: Command, _patch: pytest.MonkeyPatch) -> None:
    """The Dockerfile has the arguments and mounts the secrets that the build is given."""
    words, text = words_of(command.code), (ROOT / "Dockerfile").read_text(encoding="utf-8")
    arguments = set(re.findall(r"^ARG (\w+)", text, re.MULTILINE))
    secrets = set(re.findall(r"--mount=type=secret,id=([\w.]+)", text))
    for option, value in pairwise(words):
        if option == "--build-arg":
            assert value.partition("=")[0] in arguments
        if option == "--secret":
            assert dict(part.split("=") for part in value.split(","))["id"] in secrets


def is_contained(command: Command, _patch: pytest.MonkeyPatch) -> None:
    """The image has the volumes and the port that the container is given."""
    words, text = words_of(command.code), (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for option, value in pairwise(words):
        if option in {"-v", "-p"}:
            assert re.search(rf"^(VOLUME|EXPOSE) .*{re.escape(value.rpartition(':')[2])}\b", text, re.MULTILINE), value


def has_files(command: Command, _patch: pytest.MonkeyPatch) -> None:
    """The files that are named with -f exist."""
    words = words_of(command.code)
    files = [value for option, value in pairwise(words) if option == "-f"]
    assert all((ROOT / file).is_file() for file in files), files


def is_configured(command: Command, _patch: pytest.MonkeyPatch) -> None:
    """HAProxy takes the configuration with these variables."""
    has_files(command, _patch)
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        pytest.skip("HAProxy is not installed; its configuration has tests of its own")
    words = shlex.split(command.code)
    at = words.index("haproxy")
    variables = dict(word.split("=", 1) for word in words[:at])
    checked = [program, "-c", *(word for word in words[at + 1 :] if word not in {"-W", "-db"})]
    done = subprocess.run(
        checked, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def has_option(told: str, option: str) -> bool:
    """Whether a help names an option, which may have its value behind =."""
    return re.search(rf"(?<![\w-]){re.escape(option.partition('=')[0])}(?![\w-])", told) is not None


def is_of_kubectl(command: Command, _patch: pytest.MonkeyPatch) -> None:
    """The client has the verb and its options, where it is installed; folders that it applies are Kustomize's."""
    program, *words = words_of(command.code)
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    options = [word for word in words if word.startswith("-")]
    verbs = words[: min(2, len(words))] if words[0] in {"create", "rollout"} else words[:1]
    said = [
        subprocess.run([program, *asked], capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
        for asked in ([*verbs, "--help"], ["options"])
    ]
    for option in options:
        assert has_option("".join(said), option), f"{' '.join(verbs)} has no {option}"


def is_module(command: Command, _patch: pytest.MonkeyPatch) -> None:
    """The module can be run, and its help names the options."""
    _, _, name, *rest = words_of(command.code)
    done = subprocess.run(
        [sys.executable, "-m", name, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for option in [word for word in rest if word.startswith("--")]:
        assert has_option(done.stdout, option), f"{name} has no {option}"


def is_only_listed(_command: Command, _patch: pytest.MonkeyPatch) -> None:
    """Nothing of it can be checked here."""
