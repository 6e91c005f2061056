"""Commands of README and docs that are not run: each is on the list, with a reason, and its parser takes it."""

from collections.abc import Iterator

import pytest

from tests.docs.commands import dry
from tests.docs.commands.not_run import NOT_RUN, NotRun, entries_of
from tests.docs.commands.pages import PLACEHOLDER, Command, Inline, all_commands, inline_of, pages, read

ADVICE = "Mend the page, or what tests/docs/commands/not_run.py says of it."
LISTED = [(command, entry) for command in all_commands() for entry in entries_of(command)]


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """Commands of training set the number of torch's threads; the tests behind them have theirs."""
    yield
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def cases() -> list[object]:
    marks = {True: [pytest.mark.slow], False: []}
    return [
        pytest.param(command, entry, id=f"{command.place} {entry.words}", marks=marks[entry.slow])
        for command, entry in LISTED
    ]


@pytest.mark.parametrize(("command", "entry"), cases())
def test_command_that_is_not_run_when_checked_is_one_that_its_program_takes(
    command: Command, entry: NotRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        entry.check(command, monkeypatch)
    except AssertionError as error:
        raise AssertionError(f"{command.place}: {command.code}\n{error}\n{ADVICE}") from error


def test_list_of_commands_that_are_not_run_has_none_that_no_page_has() -> None:
    stale = [(entry.words, entry.page) for entry in NOT_RUN if not any(entry is used for _, used in LISTED)]
    assert not stale, f"no page has these commands any more; take them out of tests/docs/commands/not_run.py: {stale}"


def test_list_of_commands_that_are_not_run_says_one_thing_of_each() -> None:
    double = [command.place for command, _ in LISTED if len(entries_of(command)) > 1]
    assert not double, f"several entries of tests/docs/commands/not_run.py cover these commands: {double}"
    assert all(entry.reason for entry in NOT_RUN)


def test_entry_of_the_list_when_asked_covers_commands_by_their_words() -> None:
    entry = NotRun("matchka verify … --record", "needs a microphone", dry.parses, page="p.md")
    assert entry.covers(Command("p.md", 1, "A=1 matchka verify ada --record 5  # says who"))
    assert not entry.covers(Command("p.md", 1, "matchka verify ada a.wav"))
    assert not entry.covers(Command("p.md", 1, "matchka enroll ada --record 5"))
    assert not entry.covers(Command("q.md", 1, "matchka verify ada --record 5"))


@pytest.mark.parametrize(
    "words",
    [
        ["matchka", "verify", "ada", "a.wav", "--no-such-option"],
        ["matchka", "subjects", "delete"],
        ["matchka", "gallery", "restore", "a.zip", "--replaced"],
        ["matchka", "no-such-command"],
        ["matchka-export", "sign", "models/voice"],
        ["matchka-export", "fuse", "models/voice"],
    ],
)
def test_command_that_a_parser_refuses_when_checked_fails(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        dry.parsed(words, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["matchka-train", "run", "training/matchka_train/recipes/no-such-recipe.yaml"],
        ["matchka-train", "run", "training/matchka_train/recipes/speaker.yaml", "projection.no_such_field=1"],
        ["matchka-train", "experiment", "two-stage", "--set", "no_such_field=1"],
        ["matchka-train", "backbones", "list"],
    ],
)
def test_command_that_would_not_begin_when_checked_fails(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        dry.begun(words, monkeypatch)


@pytest.mark.parametrize("code", ["make no-such-target", "make load NO_SUCH_VARIABLE=1", "make load SCENARIO"])
def test_target_that_make_does_not_have_when_checked_fails(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        dry.made(Command("p.md", 1, code), monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("options", ["--no-such-option", "--only no-such-part", "--subjects many"])
def test_options_of_the_gpu_that_its_measurements_refuse_when_checked_fail(
    options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError, match="error"):
        dry.made(Command("p.md", 1, f"make bench-gpu GPU='{options}'"), monkeypatch)


def test_option_is_in_a_help_only_as_a_whole() -> None:
    told = "  -f FILE, --file FILE\n  --kill-after-s S, --seed=N"
    assert all(dry.has_option(told, option) for option in ("-f", "--file", "--kill-after-s", "--seed", "--seed=3"))
    assert not any(dry.has_option(told, option) for option in ("--kill", "--kill-after", "--fil", "-s", "--ile"))


def test_container_that_the_image_does_not_fit_when_checked_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "docker build --build-arg NONE=1 .": dry.builds,
        "docker build --secret id=none,src=a .": dry.builds,
        "docker run -p 1:9 matchka": dry.is_contained,
        "docker run -v data:/none matchka": dry.is_contained,
        "docker compose -f none.yaml up": dry.has_files,
        "pip install '.[none]'": dry.has_extras,
    }
    for code, check in wrong.items():
        with pytest.raises(AssertionError):
            check(Command("p.md", 1, code), monkeypatch)


def inline_commands(*programs: str) -> list[Inline]:
    """The inline code of all pages that begins with one of some programs, and has more than its name."""
    return [
        code
        for page in pages()
        for code in inline_of(page, read(page))
        if code.text.startswith(tuple(f"{p} " for p in programs))
    ]


def unknown_to_their_programs(codes: list[Inline]) -> list[str]:
    told = {
        text: dry.options_known(PLACEHOLDER.sub("PLACEHOLDER", text).split()) for text in {code.text for code in codes}
    }
    return [f"{code.place}: `{code.text}`: {told[code.text]}" for code in codes if told[code.text]]


def test_commands_in_running_text_when_looked_up_are_known_with_their_options() -> None:
    codes = inline_commands("matchka", "matchka-export")
    assert len(codes) > 30
    unknown = unknown_to_their_programs(codes)
    assert not unknown, "\n".join(unknown)


@pytest.mark.slow
def test_commands_of_training_in_running_text_when_looked_up_are_known_with_their_options() -> None:
    codes = inline_commands("matchka-train")
    assert len(codes) > 5
    unknown = unknown_to_their_programs(codes)
    assert not unknown, "\n".join(unknown)


@pytest.mark.slow
def test_targets_in_running_text_when_looked_up_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = {code.text: code for code in inline_commands("make")}
    assert len(codes) > 10
    for text, code in codes.items():
        try:
            dry.made(Command(code.page, code.line, text), monkeypatch)
        except AssertionError as error:
            raise AssertionError(f"{code.place}: `{text}`\n{error}") from error


@pytest.mark.slow
def test_modules_in_running_text_when_asked_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = {code.text: code for code in inline_commands("python -m")}
    assert len(codes) > 5
    for text, code in codes.items():
        try:
            dry.is_module(Command(code.page, code.line, text), monkeypatch)
        except AssertionError as error:
            raise AssertionError(f"{code.place}: `{text}`\n{error}") from error


def test_program_that_takes_no_such_option_in_running_text_is_named() -> None:
    assert dry.options_known(["matchka", "verify", "--no-such-option"])
    assert dry.options_known(["matchka", "gallery", "no-such-command"])
    assert not dry.options_known(["matchka", "gallery", "export", "FILE", "--model", "voice"])
