"""Every command and all Python of README and docs is run, page by page, against a service of the default models."""

import hashlib
import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from loadtests.server import free_port
from tests.docs.commands.not_run import is_run
from tests.docs.commands.pages import PYTHON, SHELL, Block, all_blocks, blocks_of, commands_of, pages, read
from tests.docs.commands.sessions import SESSIONS, Around, Session
from tests.docs.commands.shell import Outcome, Step, lay_out, run_steps
from tests.factories.checkout import ROOT
from tests.factories.server_process import RunningServer, start, stop

ADDRESS = re.compile(r"(?:127\.0\.0\.1|localhost):8000\b")
FRAME = re.compile(r"[\u2500-\u257f]")
NUMBER = r"[-+]?\.?\d[\d.,]*(?:e[-+]?\d+)?"
CODE = ("deploy",)  # what every clone has of what is used
EXPORTED = re.compile(r'^export (\w+)=("\$\([^()]*\)")')  # it would succeed whatever comes of the command in it
PROGRAMS = ("curl", "openssl")  # of the system, which a machine may lack
ADVICE = """
If the page is wrong, mend it. Else, in tests/docs/commands: what the command takes for granted (files, subjects, the
id of an example) is set up in sessions.py; a command that cannot be run here goes into not_run.py, with a reason and a
check. A comment `# exit code 1: …` at its end says that it ends with another code than 0."""


def steps_of(page: str, session: Session) -> list[tuple[Block | None, Step]]:
    """What is run of a page, each with the block that it belongs to."""
    found: list[tuple[Block | None, Step]] = [(None, Step(page, line)) for line in session.before]
    for block in blocks_of(page, read(page)):
        if block.language == PYTHON:
            around = around_of(session, block.text)
            code = "\n".join([*around.before, replaced(session, block.text), *around.after])
            found.append((block, Step(block.place, f"python - <<'END OF PYTHON'\n{code}\nEND OF PYTHON")))
        elif block.language == SHELL:
            found += [(block, step) for step in steps_of_commands(block, session)]
    return found


def steps_of_commands(block: Block, session: Session) -> Iterator[Step]:
    for command in commands_of(block):
        if is_run(command):
            around = around_of(session, command.text)
            yield from (Step(command.place, line) for line in around.before)
            code = EXPORTED.sub(r"\1=\2 && export \1", replaced(session, command.text))
            yield Step(command.place, code, command.exit_code, command.said)
            yield from (Step(command.place, line) for line in around.after)


def programs_of(codes: Iterable[str]) -> list[str]:
    """Which of PROGRAMS occur in some commands."""
    words = {word for code in codes for word in re.findall(r"[\w./-]+", code)}
    return [name for name in PROGRAMS if name in words]


def around_of(session: Session, text: str) -> Around:
    return next((around for marked, around in session.around.items() if marked in text), Around())


def replaced(session: Session, text: str) -> str:
    for example, own in session.replaced.items():
        text = text.replace(example, own)
    return text


def is_shown(shown: str, printed: str) -> bool:
    """Whether every line of a page was printed, in this order; numbers, blanks and frames of tables aside.

    In a line … or ... stand for anything; lines that were printed besides are not asked for.

    >>> is_shown("found 3 in 0.25 s ...", "found  4 in 1.5 s by search")
    True
    >>> is_shown("found 3", "lost 3")
    False
    """
    lines = [line.strip() for line in FRAME.sub(" ", printed).splitlines()]
    wanted = [line.strip() for line in FRAME.sub(" ", shown).splitlines() if line.strip()]
    left = iter(lines)
    return all(any(pattern_of(line).fullmatch(other) for other in left) for line in wanted)


def pattern_of(line: str) -> re.Pattern[str]:
    pieces = re.split(rf"(…|\.\.\.|{NUMBER}|\s+)", line)
    return re.compile("".join(pattern_of_piece(piece) for piece in pieces if piece))


def pattern_of_piece(piece: str) -> str:
    if piece in {"…", "..."}:
        return r".*?"
    if piece.isspace():
        return r"\s+"
    return NUMBER if re.fullmatch(NUMBER, piece) else re.escape(piece)


RUN = [page for page in pages() if any(block is not None for block, _ in steps_of(page, Session()))]


@pytest.fixture(scope="module")
def service(models_dir: Path, voice_samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A service of the default models for all pages; docs/challenge.md says to set the variable."""
    assert voice_samples.is_dir()
    running = start(models_dir, tmp_path_factory.mktemp("service") / "data", variables={"MATCHKA_HEAD_TURN": "true"})
    yield running
    stop(running.process)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Where a page's commands are run: a folder that goes afterwards, as its models are large."""
    yield lay_out(tmp_path)
    shutil.rmtree(tmp_path)


def state_of_repository() -> tuple[dict[str, str], str]:
    """Digests of the files of its root, and what git says has changed in it; git may be missing."""
    files = [path for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".")]
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    if shutil.which("git") is None:
        return digests, ""
    asked = ["git", "--no-optional-locks", "status", "--porcelain", "--untracked-files=no"]
    return digests, subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("page", RUN)
def test_commands_of_a_page_when_run_in_their_order_end_as_it_says(
    page: str, service: RunningServer, root: Path
) -> None:
    with service.client() as client:
        for subject in client.subjects().subjects:
            client.delete_subject(subject.subject_id)
    address = service.url.removeprefix("http://")
    parts = [
        (block, Step(step.place, ADDRESS.sub(address, step.code), step.exit_code, step.said))
        for block, step in steps_of(page, SESSIONS.get(page, Session()))
    ]
    missing = [name for name in programs_of(step.code for _, step in parts) if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {missing}")
    variables = {"MATCHKA_URL": service.url, "MATCHKA_DATA_DIR": str(service.data_dir), "OWN_PORT": str(free_port())}
    before = state_of_repository()
    outcomes = run_steps([step for _, step in parts], root, variables)
    assert state_of_repository() == before, "commands of this page write into the repository"
    failed = next((outcome for outcome in outcomes if not outcome.is_as_expected), None)
    assert failed is None, f"{failed}{ADVICE}"
    compare_with_what_is_shown([(block, outcome) for (block, _), outcome in zip(parts, outcomes, strict=True)])


def compare_with_what_is_shown(outcomes: list[tuple[Block | None, Outcome]]) -> None:
    for block in {block for block, _ in outcomes if block is not None and block.shown}:
        printed = "".join(outcome.output for of, outcome in outcomes if of == block)
        assert is_shown(block.shown, printed), (
            f"{block.place}: the commands before this `text` block did not print its lines in this order. Numbers, "
            "blanks and frames may differ, … stands for anything; put a word before a block that is no output.\n"
            f"{printed}"
        )


def test_output_that_pages_show_is_of_blocks_that_are_run() -> None:
    run = {block for page in RUN for block, _ in steps_of(page, SESSIONS.get(page, Session()))}
    never = [block.place for block in all_blocks() if block.shown and block not in run]
    assert not never, f"nothing is run of these, so that what they show is never compared; put a word between: {never}"


@pytest.mark.parametrize(("program", "expected"), [("echo 1", 0), ("no-such-program", 127)])
def test_export_of_what_a_command_prints_ends_as_the_command(program: str, expected: int, tmp_path: Path) -> None:
    (block,) = blocks_of("p.md", f'```sh\nexport KEY="$({program})"   # a comment\n```\n')
    (outcome,) = run_steps(list(steps_of_commands(block, Session())), lay_out(tmp_path, CODE), {})
    assert outcome.exit_code == expected


def test_programs_of_commands_are_found_in_substitutions_as_well() -> None:
    assert programs_of(['export KEY="$(openssl rand -hex 32)"']) == ["openssl"]
    assert programs_of(["cat curl.txt my-curl", "curl -F a=b"]) == ["curl"]
    assert programs_of(["cat curl.txt my-curl"]) == []


def test_table_of_sessions_names_pages_and_texts_that_exist() -> None:
    for page, session in SESSIONS.items():
        assert page in RUN, f"tests/docs/commands/sessions.py: nothing of {page} is run"
        blocks = [block for block in blocks_of(page, read(page)) if block.language in {SHELL, PYTHON}]
        texts = [block.text for block in blocks if block.language == PYTHON]
        texts += [command.text for block in blocks if block.language == SHELL for command in commands_of(block)]
        for example in session.replaced:
            assert any(example in text for text in texts), f"tests/docs/commands/sessions.py: {page} has no {example!r}"
        for marked in session.around:
            count = sum(marked in text for text in texts)
            assert count == 1, f"tests/docs/commands/sessions.py: {count} commands of {page} have {marked!r}"


def test_call_that_a_service_refuses_when_run_is_not_as_expected(service: RunningServer, tmp_path: Path) -> None:
    steps = [Step("p.md:1", "curl $MATCHKA_URL/v1/models"), Step("p.md:2", "curl $MATCHKA_URL/v1/none")]
    if shutil.which("curl") is None:
        pytest.skip("not installed: curl")
    outcomes = run_steps(steps, lay_out(tmp_path, CODE), {"MATCHKA_URL": service.url})
    assert [outcome.is_as_expected for outcome in outcomes] == [True, False]


@pytest.mark.parametrize("name", ["README.md", "deploy/haproxy.cfg", "build/new", "models/new", "docs/new"])
def test_file_that_a_command_writes_is_in_the_folder_alone(name: str, tmp_path: Path) -> None:
    before = state_of_repository()
    steps = [Step("p.md:1", f"mkdir -p {name.rpartition('/')[0] or '.'}; echo written > {name}")]
    (outcome,) = run_steps(steps, lay_out(tmp_path, CODE), {})
    assert outcome.is_as_expected
    assert (tmp_path / name).read_text() == "written\n"
    assert state_of_repository() == before
    assert not (ROOT / name).exists() or not (ROOT / name).samefile(tmp_path / name)


def test_folder_when_laid_out_has_no_link_into_the_repository(tmp_path: Path) -> None:
    laid_out = lay_out(tmp_path, CODE)
    links = {path.relative_to(laid_out).as_posix() for path in laid_out.rglob("*") if path.is_symlink()}
    assert links == {".venv"}
    assert sorted(path.name for path in laid_out.iterdir()) == [".curlrc", ".venv", "deploy"]


def test_steps_that_end_otherwise_than_expected_when_run_are_told_and_end_the_session(tmp_path: Path) -> None:
    code = textwrap.dedent(
        """\
        cd deploy
        false
        echo never"""
    )
    steps = [Step(f"p.md:{number}", line) for number, line in enumerate(code.splitlines(), 1)]
    outcomes = run_steps(steps, lay_out(tmp_path, CODE), {})
    assert [outcome.exit_code for outcome in outcomes] == [0, 1, None]
    assert "p.md:2: false\nended with 1, expected 0" in str(outcomes[1])


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Step("p.md:1", "exit 0"), False),
        (Step("p.md:1", "false | true"), False),
        (Step("p.md:1", "echo said", said="match: ada"), False),
        (Step("p.md:1", "echo match: ada", said="match: ada"), True),
        (Step("p.md:1", "(exit 1)", exit_code=1), True),
        (Step("p.md:1", "python - <<'END'\nassert False\nEND"), False),
        (Step("p.md:1", "echo $UNSET"), False),
    ],
)
def test_step_when_run_is_as_expected_only_with_its_code_and_output(step: Step, expected: bool, tmp_path: Path) -> None:
    (outcome,) = run_steps([step], lay_out(tmp_path, CODE), {})
    assert outcome.is_as_expected == expected


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("match: ada\n", "match: ada\n", True),
        ("similarity 0.81 of 2 templates", "  similarity .79  of 1 templates", True),
        ("match: ada", "match: bob", False),
        ("match: ada", "match: ada and more", False),
        ("match: ada …", "match: ada and more", True),
        ("match: ada\ndone", "done\nmatch: ada", False),
        ("match: ada\ndone", "match: ada\nin time\ndone", True),
        (
            "match  dim\nyes  256\nno  64",
            "┏━━━┳━━━┓\n┃ match ┃ dim ┃\n│ yes │ 256 │\n┃ match ┃ dim ┃\n│ no │ 16 │",
            True,
        ),
        ("match  dim\nyes  256", "│ match │ dim │\n│ no │ 256 │", False),
        ("a (b) [c]", "a (b) [c]", True),
        ("found 3", "found none", False),
    ],
)
def test_output_of_a_page_when_compared_has_all_lines_but_for_numbers_and_blanks(
    shown: str, printed: str, expected: bool
) -> None:
    assert is_shown(shown, printed) == expected
