"""`matchka classify`: the class of a sample, with a plot of a radio recording's samples."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from matchka.cli.client.options import FormatOption, Url, connected, format_of
from matchka.cli.output.report import NO_MATCH, Report, reporting, say
from matchka.cli.output.scores import shown
from matchka.client.answers import ClassifyAnswer
from matchka.errors import InvalidFieldError, extra_required

TERMINAL: Final = "-"
LEAST_SHOWN: Final = 0.005  # probability of a class that is listed


@reporting
def classify(
    file: Annotated[Path, typer.Argument(help="A radio recording, or what --model takes.")],
    model: Annotated[str, typer.Option("--model", help="Bundle with a class output.")] = "radio",
    sample_format: FormatOption = None,
    plot: Annotated[
        str | None, typer.Option("--plot", help="Draw a recording's Q over I: a PNG file, or - for this terminal.")
    ] = None,
    url: Url = None,
) -> Report:
    """Of which class is this? Exit code 0: a known one, 1: unknown, 2: error."""
    of_file = sample_format or format_of([file])
    draw = _drawing(file, of_file, plot) if plot else None
    answer = connected(url).classify(file, model, of_file)
    drawn = draw() if draw else None
    return Report(
        answer, lambda console: _show(console, answer, drawn), NO_MATCH if answer.label is None else 0, beside=drawn
    )


def _show(console: Console, answer: ClassifyAnswer, drawn: str | None) -> None:
    table = Table("class", "probability", title=escape(answer.label or "unknown"))
    for one in answer.classes:
        if one.probability is None or one.probability >= LEAST_SHOWN:
            table.add_row(escape(one.label), shown(one.probability))
    values = [f"{name} {value:.2f}" for name, value in answer.values.items()]
    console.print(table)
    rest = [*values, *_windows(answer), f"{answer.model} {answer.version}"]
    say(console, ", ".join(rest))
    if drawn:
        say(console, drawn)


def _windows(answer: ClassifyAnswer) -> list[str]:
    """How many, and the power, where the sample was cut into windows; a picture or an object has none."""
    sample = answer.sample or {}
    if "windows" not in sample:
        return []
    power = [f"{sample['power_dbfs']:.1f} dBFS"] if "power_dbfs" in sample else []
    return [f"{answer.windows} {'window' if answer.windows == 1 else 'windows'}", *power]


def _drawing(file: Path, sample_format: str | None, plot: str) -> Callable[[], str | None]:
    """What draws a file's samples, once the service has found them fit: into a file, or as text, which it returns.

    Raises: MatchkaError: nothing can be drawn there, or of this file.
    """
    if plot != TERMINAL and not plot.lower().endswith(".png"):
        raise InvalidFieldError("A plot is a PNG file, or - for the terminal.", value=plot, remedy="End it with .png.")
    with extra_required("cpu"):
        from matchka.cli.output.constellation import as_text, histogram_of, samples_of, write_png
    samples = samples_of(file, sample_format)
    return lambda: as_text(histogram_of(samples)) if plot == TERMINAL else write_png(samples, Path(plot))
