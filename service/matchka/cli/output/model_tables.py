"""What is served, as tables: accuracy at each dim, and in each band of a value that error rates depend on."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from rich.table import Table

from matchka.client.answers import BandReport, DimReport, ModelAnswer, OperatingPoint

SHOWN_FMR: Final = 1e-3


def memory_of(model: ModelAnswer) -> str:
    """A model's name and version, and what it takes."""
    memory = f"{model.graph} graph; graphs {model.graph_bytes / 1e6:.1f} MB, gallery {model.gallery_bytes / 1e6:.1f} MB"
    return f"{model.name} {model.version}{'' if model.current else ' (older)'}: {memory}"


def tables_of(model: ModelAnswer) -> Iterator[Table]:
    """The tables of a model that embeds."""
    table = Table("dim", "domain", "EER %", "backbone EER %", "threshold at FMR 0.1 %", title=memory_of(model))
    for dim in model.dims:
        report = model.per_dim[str(dim)]
        for domain, metrics in report.metrics.items():
            raw = report.backbone_metrics[domain].eer
            table.add_row(str(dim), domain, f"{100 * metrics.eer:.2f}", f"{100 * raw:.2f}", _threshold(report))
    yield table
    condition = next((output["condition"] for output in model.outputs.values() if output.get("condition")), None)
    bands = model.per_dim[str(model.full_dim)].bands
    if condition and bands:
        yield _band_table(model, condition, bands)


def _band_table(model: ModelAnswer, condition: dict[str, Any], bands: Sequence[BandReport]) -> Table:
    sizes = (model.input.get("enhancer") or {}).get("sizes", [])
    caption = f"enhanced: {', '.join(f'{low:g} to {high:g}' for low, high in sizes)}" if sizes else None
    name = str(condition["value"])
    table = Table(name, "EER %", "threshold at FMR 0.1 %", title=f"at dim {model.full_dim}", caption=caption)
    for where, band in zip(ranges_between(condition["edges"]), bands, strict=True):
        rates = ", ".join(f"{100 * metrics.eer:.2f}" for metrics in band.metrics.values())
        table.add_row(where, rates or "-", _threshold(band))
    return table


def ranges_between(edges: Sequence[float]) -> list[str]:
    """The bands that rising edges part, in words.

    >>> ranges_between([20, 40])
    ['below 20', '20 to 40', '40 and more']
    """
    between = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return [f"below {edges[0]:g}", *between, f"{edges[-1]:g} and more"]


def _threshold(report: DimReport | BandReport) -> str:
    point: OperatingPoint = min(report.operating_points["1"], key=lambda point: abs(point.fmr - SHOWN_FMR))
    return f"{point.threshold:.3f}{'' if point.measured else ' (extrapolated)'}"
