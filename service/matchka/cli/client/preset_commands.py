"""`matchka generate` and `matchka morph`: settings as JSON, as another program's configuration, or as a picture."""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from matchka.cli.client.options import Url, connected
from matchka.cli.output.report import Report, reporting, said
from matchka.client.answers import ParametersAnswer
from matchka.client.curve_plot import curve_svg
from matchka.client.presets import as_equalizer_apo, as_sox, filters_of
from matchka.errors import InvalidFieldError

preset_commands = typer.Typer()


class Format(StrEnum):
    """How a setting is printed."""

    JSON = "json"
    APO = "apo"
    SOX = "sox"


PRINTED: Final[Mapping[Format, Callable[[Mapping[str, float]], str]]] = {
    Format.JSON: lambda parameters: json.dumps(dict(parameters), indent=1),
    Format.APO: lambda parameters: as_equalizer_apo(filters_of(parameters)),
    Format.SOX: lambda parameters: as_sox(filters_of(parameters)),
}
ModelName = Annotated[str, typer.Option("--model", help="Bundle with settings.")]
PrintedAs = Annotated[
    Format, typer.Option("--format", help="json, or for Equalizer APO or SoX; see docs/equalizer.md.")
]
Plot = Annotated[Path | None, typer.Option("--plot", help="Draw the response curve into this SVG file.")]
SettingFile = Annotated[Path, typer.Argument(help="A JSON object of named numbers.")]


@preset_commands.command()
@reporting
def generate(
    word: str,
    strength: Annotated[float | None, typer.Option("--strength", help="From 0 to 1, the default.")] = None,
    model: ModelName = "equalizer",
    printed_as: PrintedAs = Format.JSON,
    plot: Plot = None,
    url: Url = None,
) -> Report:
    """Print the setting that a word stands for."""
    answer = connected(url).generate(word, strength, model)
    return _report(answer, printed_as, plot, word if strength is None else f"{word}, strength {strength:g}")


@preset_commands.command()
@reporting
def morph(
    a: SettingFile,
    b: SettingFile,
    t: Annotated[float | None, typer.Option("--t", help="How far from A to B, from 0 to 1; 0.5 by default.")] = None,
    model: ModelName = "equalizer",
    printed_as: PrintedAs = Format.JSON,
    plot: Plot = None,
    url: Url = None,
) -> Report:
    """Print a setting on the way between two."""
    answer = connected(url).morph(a, b, t, model)
    return _report(answer, printed_as, plot, f"{a.stem} to {b.stem}" if t is None else f"{a.stem} to {b.stem}, {t:g}")


def _report(answer: ParametersAnswer, printed_as: Format, plot: Path | None, title: str) -> Report:
    if plot is not None:
        try:
            plot.write_text(curve_svg(answer.parameters, title), encoding="utf-8")
        except OSError as error:
            raise InvalidFieldError(
                "The picture cannot be written.", value=plot, remedy=f"Name another file ({error.strerror})."
            ) from error
    return Report(answer, said(PRINTED[printed_as](answer.parameters)))
