"""What a card says of each kind of output: the table of kinds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from matchka.bundles.outputs.classes import ClassOutput
from matchka.bundles.outputs.embedding import EmbeddingOutput
from matchka.bundles.outputs.measurements import DimReport, Metrics, OperatingPoint, SelectedOn
from matchka.bundles.outputs.output import Output
from matchka.bundles.outputs.parameters import ParametersOutput
from matchka.bundles.outputs.phoneme_posteriors import PhonemePosteriorsOutput
from matchka.bundles.outputs.value import ValueOutput
from matchka_export.card.markdown import percent, table

_ONE_TEMPLATE: Final = "1"
_SELECTED: Final[Mapping[SelectedOn, str]] = MappingProxyType(
    {
        "nothing": "Their samples had chosen nothing before.",
        "these people": "Their samples had chosen the epoch or the family before, which flatters every rate here.",
    }
)
_RATES: Final = ("0.01", "0.001")


@dataclass(frozen=True)
class Told:
    """One output in words.

    Attributes:
        what: a sentence or two of what it is.
        measured: tables of what was measured; empty where the manifest has nothing.
        results: rows of the Hub's `model-index`.
    """

    what: str
    measured: str = ""
    results: list[dict[str, Any]] = field(default_factory=list)


def told(name: str, output: Output) -> Told:
    """An output of a manifest by the name that its graph gives it, as its kind is told."""
    return _TELLERS[type(output)](name, output)


def _embedding(name: str, output: EmbeddingOutput) -> Told:
    dims = ", ".join(map(str, output.dims))
    scorer = output.scorer.kind.replace("_", " ")
    what = (
        f"`{name}`: an embedding of {output.full_dim} components, compared by {scorer}. It may be truncated to {dims} "
        "components, which were trained and measured; no other dim is served."
    )
    full = output.per_dim[str(output.full_dim)]
    parts = [
        "Rates of single samples, by domain and dim, beside the frozen backbone truncated to the same dim:",
        table(
            ("domain", "dim", "EER", "backbone's", *(f"TAR at FMR {rate}" for rate in _RATES), "minDCF", "gate"),
            [
                row
                for domain in full.metrics
                for dim in output.dims
                for row in _accuracy(domain, dim, output.per_dim[str(dim)])
            ],
        ),
        "What they rest on:",
        table(
            ("domain", "identities", "mated pairs", "non-mated pairs"),
            [
                (domain, found.subjects, f"{found.mated_pairs:,}", f"{found.non_mated_pairs:,}")
                for domain, found in full.metrics.items()
            ],
        ),
        f"Thresholds at {output.full_dim} components, references of one template:",
        table(("FMR", "threshold", "measured"), [_point(point) for point in full.operating_points[_ONE_TEMPLATE]]),
        _promise(full),
    ]
    results = [
        _result(domain, f"EER at {dim} components", found.eer)
        for domain in full.metrics
        for dim in output.dims
        if (found := output.per_dim[str(dim)].metrics.get(domain))
    ]
    return Told(what, "\n\n".join(parts), results)


def _accuracy(domain: str, dim: int, report: DimReport) -> list[tuple[object, ...]]:
    found, raw, gate = report.metrics.get(domain), report.backbone_metrics.get(domain), report.gate.get(domain)
    if found is None:
        return []
    tars = [percent(found.tar_at_fmr[rate]) if rate in found.tar_at_fmr else "" for rate in _RATES]
    return [
        (
            domain,
            dim,
            percent(found.eer),
            _eer(raw),
            *tars,
            f"{found.min_dcf:.3f}",
            gate.verdict if gate else "not judged",
        )
    ]


def _eer(metrics: Metrics | None) -> str:
    return "" if metrics is None else percent(metrics.eer)


def _point(point: OperatingPoint) -> tuple[object, ...]:
    return f"{point.fmr:g}", f"{point.threshold:.4f}", "yes" if point.measured else "no: too few people; extrapolated"


def _promise(report: DimReport) -> str:
    promise = report.promise
    if promise is None:
        return "The thresholds are estimates: how far they keep their rate for other people was not measured."
    draws = f"{percent(promise.confidence)} of draws of those who set it ({promise.method}, {promise.resamples} draws)"
    return f"A threshold keeps its rate in {draws}. {_SELECTED[promise.selected_on]}"


def _classes(name: str, output: ClassOutput) -> Told:
    unknown = (
        f" Samples whose `{output.unknown.value}` lies below a threshold are of none of them."
        if output.unknown
        else " Every sample is given one of them, also one that is of none."
    )
    return Told(f"`{name}`: which of {len(output.labels)} classes: {', '.join(output.labels)}.{unknown}")


def _value(name: str, output: ValueOutput) -> Told:
    return Told(f"`{name}`: one number{f' in {output.unit}' if output.unit else ''}.")


def _parameters(name: str, output: ParametersOutput) -> Told:
    words = ", ".join(f"{word} (of {found.contributors} people)" for word, found in output.words.items())
    dims = ", ".join(map(str, output.dims))
    what = f"`{name}`: {len(output.parameters)} settings, found again from the first {dims} components."
    ranges = [(each.name, each.unit, f"{each.low:g} to {each.high:g}", each.scale) for each in output.parameters]
    spoken = f" Words with settings: {words}." if words else ""
    return Told(what + spoken, "Ranges of the settings:\n\n" + table(("setting", "unit", "range", "scale"), ranges))


def _phonemes(name: str, output: PhonemePosteriorsOutput) -> Told:
    what = (
        f"`{name}`: log-probabilities of {len(output.phones)} phones every {output.frame_period_ms:g} ms, by which a "
        "clip is compared with a text."
    )
    rows = [
        (
            domain,
            percent(found.per),
            _rate(found.phrase_eer),
            _rate(floor.per if floor else None),
            found.speakers,
            found.clips,
        )
        for domain, found in output.metrics.items()
        for floor in [output.baseline_metrics.get(domain)]
    ]
    columns = ("domain", "phone error rate", "EER of phrases", "phone error rate of the floor", "speakers", "clips")
    results = [_result(domain, "phone error rate", found.per) for domain, found in output.metrics.items()]
    return Told(what, table(columns, rows), results)


def _rate(rate: float | None) -> str:
    return "not measured" if rate is None else percent(rate)


def _result(domain: str, metric: str, rate: float) -> dict[str, Any]:
    return {
        "task": {"type": "verification"},
        "dataset": {"type": domain, "name": domain},
        "metrics": [{"type": "error-rate", "name": f"{metric} (%)", "value": round(100 * rate, 3)}],
    }


_TELLERS: Final[Mapping[type[Output], Callable[[str, Any], Told]]] = MappingProxyType(
    {
        EmbeddingOutput: _embedding,
        ClassOutput: _classes,
        ValueOutput: _value,
        ParametersOutput: _parameters,
        PhonemePosteriorsOutput: _phonemes,
    }
)
