"""One picture of a bundle: DET curves of each domain above; error rates and cost against dim below."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from scipy.stats import norm

from matchka.bundles.manifest import Manifest
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.outputs.measurements import Metrics
from matchka.errors import InvalidFieldError
from matchka_export.plots.cost import ROWS, bytes_of_template, search_ms
from matchka_export.plots.stated import Rate, det_points, eer_of, fnmr_at
from matchka_train.run.det_axes import set_det_axes

SUFFIXES: Final = (".svg", ".png")
DPI: Final = 110
LIGHTEST: Final = 0.92  # of the colour map: a yellow line is hard to see
SHOWN_FMR: Final = "0.001"
TICKS: Final = (0.0001, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.98, 0.995)
ROOM: Final = 0.25  # deviates
MARKERS: Final = "osD^v"
COLOURS: Final = ("tab:blue", "tab:red", "tab:green", "tab:orange", "tab:purple")
BELOW: Final = (
    "A bundle states single points of each DET curve: the EER, and FNMR at some FMRs. The lines between them are what\n"
    "normal scores would give. Dashed: the frozen backbone, in the lower row cut to the same dim.\n"
    "Bars: Wilson's 95 % interval as if each subject were one trial, since its pairs are not independent; a bootstrap\n"
    "by subject is usually narrower. "
    "All dims are measured on the same subjects: their differences are surer than the bars say."
)


def draw_bundle(manifest: Manifest, path: Path, is_timed: bool) -> None:
    """Draw what a bundle states of its embedding.

    Args:
        manifest: of a bundle with an embedding.
        path: of the picture, an SVG or PNG file.
        is_timed: whether to time searches on this machine.

    Raises:
        OutputNotAvailableError: it has no embedding.
        InvalidFieldError: the picture cannot be written there.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidFieldError("A picture is an SVG or a PNG file.", value=path, remedy="End its name with .svg.")
    output = manifest.output(EmbeddingOutput)
    full = output.per_dim[str(output.full_dim)]
    figure = Figure(figsize=(max(9.6, 3.9 * len(full.metrics)), 8.8), layout="constrained")
    figure.suptitle(f"{manifest.name} {manifest.version}: {manifest.task}", fontsize=13)
    (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.25, 1.0))
    _draw_det(above, output)
    _draw_dims(below, output, {dim: search_ms(dim) for dim in output.dims} if is_timed else {})
    figure.supxlabel(BELOW, fontsize=8, x=0.01, ha="left")
    try:
        # text as text, and no date: a small file, the same one for the same numbers
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": manifest.name}):
            no_date = {"Date": None} if path.suffix.lower() == ".svg" else {}
            figure.savefig(path, dpi=DPI, metadata=no_date)
    except OSError as error:
        raise InvalidFieldError(
            "The picture cannot be written.", value=path, remedy=f"Name another file ({error.strerror})."
        ) from error


def _draw_det(figure: SubFigure, output: EmbeddingOutput) -> None:
    domains = output.per_dim[str(output.full_dim)].metrics
    colours = mpl.colormaps["viridis"](
        [LIGHTEST * place / max(1, len(output.dims) - 1) for place in range(len(output.dims))]
    )
    axes = figure.subplots(1, len(domains), squeeze=False)[0]
    for at, (domain, counted) in zip(axes, domains.items(), strict=True):
        for dim, colour in zip(output.dims, colours[::-1], strict=True):
            report = output.per_dim[str(dim)]
            _line(at, report.metrics[domain], color=colour, marker="o", markersize=4, label=f"dim {dim}")
        backbone = output.per_dim[str(output.full_dim)].backbone_metrics[domain]
        _line(at, backbone, color="grey", linestyle="--", marker=".", label=f"backbone, dim {output.full_dim}")
        at.axline((0, 0), slope=1, color="grey", linewidth=0.6, linestyle=":", zorder=0)  # equal rates
        points = [point for each in output.per_dim.values() for point in det_points(each.metrics[domain])]
        points += det_points(backbone)
        fmrs, fnmrs = (_frame(rates) for rates in zip(*points, strict=True))
        set_det_axes(at, TICKS, TICKS, fmrs, fnmrs)
        at.set_box_aspect(1)
        at.tick_params(labelsize=8)
        at.grid(alpha=0.3)
        at.set_title(
            f"{domain}: {counted.subjects:,} subjects,\n{counted.mated_pairs:,} mated and "
            f"{counted.non_mated_pairs:,} non-mated pairs",
            fontsize=9,
        )
        at.legend(fontsize=7, loc="upper right")


def _frame(rates: Sequence[float]) -> tuple[float, float]:
    """The lowest and highest rate of an axis that shows some, with room beside them."""
    low, high = norm.cdf(norm.ppf(min(rates)) - ROOM), norm.cdf(norm.ppf(max(rates)) + ROOM)
    return float(low), float(high)


def _line(at: Axes, metrics: Metrics, **style: Any) -> None:
    fmr, fnmr = zip(*det_points(metrics), strict=True)
    at.plot(norm.ppf(fmr), norm.ppf(fnmr), linewidth=1.2, **style)


def _draw_dims(figure: SubFigure, output: EmbeddingOutput, searches_ms: Mapping[int, float]) -> None:
    eer, fnmr, cost = figure.subplots(1, 3)
    for place, domain in enumerate(output.per_dim[str(output.full_dim)].metrics):
        style = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
        shift = 1 + 0.05 * place  # so that bars of several domains do not hide each other
        metrics = [output.per_dim[str(dim)].metrics[domain] for dim in output.dims]
        backbone = [output.per_dim[str(dim)].backbone_metrics[domain] for dim in output.dims]
        dims = [shift * dim for dim in output.dims]
        _bars(eer, dims, [eer_of(each) for each in metrics], label=domain, **style)
        eer.plot(dims, [100 * each.eer for each in backbone], "--", color=style["color"], linewidth=1, alpha=0.7)
        _bars(fnmr, dims, [fnmr_at(each, SHOWN_FMR) for each in metrics], label=domain, **style)
        before = [100 * (1 - each.tar_at_fmr[SHOWN_FMR]) for each in backbone]
        fnmr.plot(dims, before, "--", color=style["color"], linewidth=1, alpha=0.7)
    for at, title in ((eer, "EER %"), (fnmr, "FNMR % at FMR 0.1 %"), (cost, "")):
        at.set(xscale="log", xlabel="dim", xticks=output.dims, xticklabels=[str(dim) for dim in output.dims])
        at.minorticks_off()
        at.grid(alpha=0.3)
        at.set_title(title, fontsize=10)
    for at in (eer, fnmr):
        at.set_ylim(0, None)
        at.legend(fontsize=7)
    _draw_cost(cost, output.dims, searches_ms)


def _bars(at: Axes, dims: Sequence[float], rates: Sequence[Rate], **style: Any) -> None:
    values = [100 * rate.value for rate in rates]
    below = [100 * (rate.value - rate.low) for rate in rates]
    above = [100 * (rate.high - rate.value) for rate in rates]
    at.errorbar(dims, values, yerr=(below, above), capsize=2, linewidth=1.2, elinewidth=0.8, markersize=4, **style)


def _draw_cost(at: Axes, dims: Sequence[int], searches_ms: Mapping[int, float]) -> None:
    at.plot(dims, [bytes_of_template(dim) for dim in dims], "s-", color="tab:blue", markersize=4)
    at.set_ylim(0, None)
    at.set_ylabel("bytes of a template in memory", color="tab:blue")
    at.set_title("cost of a dim", fontsize=10)
    if not searches_ms:
        return
    beside = at.twinx()
    beside.plot(dims, [searches_ms[dim] for dim in dims], "o-", color="tab:red", markersize=4)
    beside.set_ylim(0, None)
    beside.set_ylabel(f"ms of a plain search of {ROWS:,}, here", color="tab:red")
