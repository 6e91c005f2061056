"""The client commands about what is said: a spoken challenge, and pronunciation."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from matchka.cli.capture.recorder import MICROPHONE, record
from matchka.cli.client.options import MaxFmr, Record, Url, connected
from matchka.cli.output.report import NO_MATCH, Report, reporting, say
from matchka.cli.output.scores import shown
from matchka.client.answers import PhraseAnswer, PronounceAnswer, VerifyAnswer
from matchka.errors import InvalidFieldError

SECONDS_PER_WORD: Final = 1
SECONDS_BESIDE: Final = 2  # to begin, and to end
GOOD, DOUBTFUL, BAD = "green", "yellow", "red"

commands = typer.Typer()

MaxFar = Annotated[
    float | None, typer.Option("--max-far", help="Share of clips saying something else that may pass; 0.01 by default.")
]


@commands.command()
@reporting
def challenge(
    subject_id: str,
    file: Annotated[
        Path | None, typer.Argument(help="Where the phrase will have been recorded; from the microphone by default.")
    ] = None,
    words: Annotated[int | None, typer.Option("--words", help="Of the phrase, 4 to 10; 6 by default.")] = None,
    max_fmr: MaxFmr = None,
    max_far: MaxFar = None,
    record_s: Record = None,
    url: Url = None,
) -> Report:
    """Show a fresh phrase, take a clip, and decide on person and phrase. Exit code 0: match, 1: no match, 2: error."""
    if file is not None and record_s is not None:
        raise InvalidFieldError(
            "A clip comes from a file or from the microphone.", value=file, remedy="Leave out the file or --record."
        )
    if file is None:
        MICROPHONE.require()  # a phrase that nobody can answer is one of the few that may be open
    asking = Console(stderr=True)
    client = connected(url)
    given = client.challenge(subject_id, words)
    asking.print(f"say until {given.expires_at:%H:%M:%S} UTC:  [bold]{escape(given.phrase)}[/]", highlight=False)
    needed_s = len(given.phrase.split()) * SECONDS_PER_WORD + SECONDS_BESIDE
    clip = record(record_s or needed_s) if file is None else _awaited(file, asking)
    answer = client.verify(subject_id, clip, max_fmr=max_fmr, challenge_id=given.challenge_id, max_far=max_far)
    return Report(answer, lambda console: _show_decision(console, answer), 0 if answer.match else NO_MATCH)


@commands.command()
@reporting
def pronounce(
    file: Annotated[str, typer.Argument(help="The clip; left out with --record.")],
    text: Annotated[str | None, typer.Argument(help="What was to be said.")] = None,
    model: Annotated[str, typer.Option("--model", help="Of what is said.")] = "phonemes",
    max_far: MaxFar = None,
    record_s: Record = None,
    url: Url = None,
) -> Report:
    """How well does a clip say a text, word by word? Exit code 0: it says it, 1: it does not, 2: error."""
    client = connected(url)
    if (text is None) != (record_s is not None):
        raise InvalidFieldError(
            "A clip and a text are needed: FILE TEXT, or --record SECONDS TEXT.", value=text, remedy="Name both."
        )
    clip, spoken = (Path(file), text) if text is not None else (record(record_s or 0), file)
    answer = client.pronounce(clip, spoken, model, max_far)
    return Report(answer, lambda console: _show_words(console, answer), 0 if answer.phrase.match else NO_MATCH)


def _show_words(console: Console, answer: PronounceAnswer) -> None:
    table = Table("word", "llr", "phones", title=_said(answer.phrase))
    for word in answer.words:
        phones = " ".join(_coloured(phone.phone, phone.llr, answer.phrase.threshold) for phone in word.phones)
        table.add_row(_coloured(word.word, word.llr, answer.phrase.threshold), shown(word.llr, 2), phones)
    if answer.accuracy is not None:
        table.caption = f"accuracy {answer.accuracy:.1f}"
    console.print(table)


def _show_decision(console: Console, answer: VerifyAnswer) -> None:
    console.print(_decision(answer))
    say(console, explain(answer))


def explain(answer: VerifyAnswer) -> str:
    """Which part failed, as far as is told."""
    failed = [
        *(["the person"] if _is_person(answer) is False else []),
        *(["the phrase"] if answer.phrase is not None and not answer.phrase.match else []),
    ]
    return f"failed: {' and '.join(failed)}" if failed else "person and phrase pass"


def colour_of(llr: float, threshold: float) -> str:
    """Green for what lies in the upper half of what a phrase may score, yellow in the lower half, red below.

    >>> [colour_of(llr, -2.0) for llr in (-0.5, -1.5, -2.5)]
    ['green', 'yellow', 'red']
    """
    if llr < threshold:
        return BAD
    return GOOD if llr >= threshold / 2 else DOUBTFUL


def _awaited(file: Path, console: Console) -> bytes:
    """The clip of a file, once it is said to be there."""
    console.print(f"record it to {file}, then press Enter", highlight=False, markup=False)
    sys.stdin.readline()  # a script's end of input is no refusal
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidFieldError(
            "The file cannot be read.", value=file, remedy=f"Check the path ({error.strerror})."
        ) from error


def _decision(answer: VerifyAnswer) -> Table:
    table = Table("part", "match", "score", "threshold", title="match" if answer.match else "no match")
    table.add_row("person", _yes_or_no(_is_person(answer)), shown(answer.similarity), shown(answer.threshold))
    if answer.phrase is not None:
        phrase = answer.phrase
        table.add_row("phrase", _yes_or_no(phrase.match), shown(phrase.llr, 2), shown(phrase.threshold, 2))
    return table


def _said(phrase: PhraseAnswer) -> str:
    what = "says the text" if phrase.match else "does not say the text"
    unmeasured = "" if phrase.threshold_measured else " (not measured)"
    return f"{what}: {shown(phrase.llr, 2)}, threshold {shown(phrase.threshold, 2)}{unmeasured}"


def _coloured(text: str, llr: float | None, threshold: float | None) -> str:
    if llr is None or threshold is None:
        return escape(text)
    return f"[{colour_of(llr, threshold)}]{escape(text)}[/]"


def _is_person(answer: VerifyAnswer) -> bool | None:
    """Whether the voice is the subject's; without scores that cannot be told where the phrase is wrong."""
    if answer.similarity is not None and answer.threshold is not None:
        return answer.similarity >= answer.threshold
    return None if answer.phrase is not None and not answer.phrase.match else answer.match


def _yes_or_no(match: bool | None) -> str:
    return "-" if match is None else "yes" if match else "no"
