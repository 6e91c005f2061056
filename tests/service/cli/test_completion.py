"""Completion of a line, by the script that is printed, in a real shell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from matchka.cli.main import app
from tests.factories.checkout import ROOT
from tests.factories.small_server import SmallServer

PROGRAM = f"""#!{sys.executable}
import sys
sys.path[:0] = [{str(ROOT / "service")!r}]
from matchka.cli.main import main
main()
"""
# what bash does when somebody presses TAB, and what it would offer
PRESS_TAB = """
eval "$(_MATCHKA_COMPLETE=source_bash matchka)"
[ "$(complete -p matchka)" = "complete -o default -F _matchka_completion matchka" ] || exit 1
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_matchka_completion matchka
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """PATH with a `matchka` of this checkout."""
    (tmp_path / "matchka").write_text(PROGRAM)
    (tmp_path / "matchka").chmod(0o755)
    return f"{tmp_path}{os.pathsep}{os.environ['PATH']}"


def offered(path: str, url: str, *words: str) -> list[str]:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    done = subprocess.run(
        [bash, "--norc", "-c", PRESS_TAB, "bash", *words],
        env={**os.environ, "PATH": path, "MATCHKA_URL": url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["en"], ["enroll"]),
        (["gallery", "ba"], ["backup"]),  # of a command that is imported when it is called
        (["subjects", "de"], ["delete-template", "delete"]),
        (["enroll", "--on-d"], ["--on-duplicate"]),
        (["enroll", "--mode", "cr"], ["create_or_append", "create"]),
        (["enroll", "--model", "v"], ["voice"]),  # the service is asked
        (["enroll", "--model", "x"], []),
    ],
)
def test_tab_offers_what_the_line_can_go_on_with(
    small_server: SmallServer, path: str, words: list[str], expected: list[str]
):
    assert offered(path, small_server.url, "matchka", *words) == expected


@pytest.mark.slow
def test_tab_offers_no_model_where_no_service_answers(path: str):
    assert offered(path, "http://127.0.0.1:1", "matchka", "enroll", "--model", "v") == []


@pytest.mark.parametrize(
    ("shell", "said"),
    [("bash", "complete -o default"), ("zsh", "compdef _matchka_completion"), ("fish", "complete --command matchka")],
)
def test_script_is_printed_for_every_shell(path: str, shell: str, said: str):
    environment = {**os.environ, "_MATCHKA_COMPLETE": f"source_{shell}"}
    program = [sys.executable, str(Path(path.split(os.pathsep)[0]) / "matchka")]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert said in done.stdout


def test_help_names_the_options_that_show_and_install_the_script():
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "--install-completion" in shown
    assert "--show-completion" in shown
