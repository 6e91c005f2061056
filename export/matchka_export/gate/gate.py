"""The gate: what must hold before a graph becomes a bundle; failures are named and nothing is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from rich.table import Table

from matchka.bundles.outputs.measurements import DimOrder, DimReport, GateComparison
from matchka_export.bundle import Facts
from matchka_export.errors import GateError, UndecidableError
from matchka_export.gate.non_inferiority import Row, Rule, judge_rows, order_bound
from matchka_train.metrics.bootstrap import DrawnRate, draw_eers
from matchka_train.metrics.pairs import PairSimilarities

NO_HASH: Final = "0" * 64
RULE: Final = Rule()
SUBJECT: Final = "subject"  # what is drawn anew

Pairs = Mapping[str, Callable[[int], PairSimilarities]]  # domain -> dim -> similarities of its trials


@dataclass(frozen=True)
class DimGate:
    """What the gate found at one dim.

    Attributes:
        gate: domain -> the graph beside its frozen backbone.
        order: domain -> the dim beside the next shorter one; empty at the shortest.
    """

    gate: dict[str, GateComparison] = field(default_factory=dict)
    order: dict[str, DimOrder] = field(default_factory=dict)


def judge(projected: Pairs, raw: Pairs, dims: Sequence[int], raw_dim: int, seed: int) -> dict[str, DimGate]:
    """Compare the graph with its frozen backbone, and each dim with the next shorter one, in every domain.

    Each dim is compared with the backbone truncated to the same; full_dim with the whole backbone, which may have more
    components: that is what it is worth. All comparisons of a domain are made on the same draws of identities.

    Args:
        projected: similarities of the graph.
        raw: those of the frozen backbone, of the same trials.
        dims: rising; the last is full_dim.
        raw_dim: components of the backbone's embedding.
        seed: the same seed draws the same identities.

    Returns: str(dim) -> what was found.

    Raises: NoTrialsError: the two were not measured on the same trials, or a similarity is not finite.
    """
    found = {str(dim): DimGate() for dim in dims}
    raw_dims = [*dims[:-1], raw_dim]
    for domain, pairs_at in projected.items():
        pairs = [pairs_at(dim) for dim in dims]
        drawn = draw_eers([*pairs, *(raw[domain](dim) for dim in raw_dims)], seed)
        graph, backbone = drawn[: len(dims)], drawn[len(dims) :]
        people = int(np.unique(np.append(pairs[0].mated_subjects, pairs[0].non_mated_subjects)).size)
        rows = {
            str(dim): Row(SUBJECT, people, int(pairs[0].mated.size), rate, _reference(dim, dims), raw_rate)
            for dim, rate, raw_rate in zip(dims, graph, backbone, strict=True)
        }
        for dim, comparison in _compare(rows).items():
            found[dim].gate[domain] = comparison
        for shorter, longer, shorter_rate, rate in zip(dims, dims[1:], graph, graph[1:], strict=False):
            found[str(longer)].order[domain] = _order(shorter, shorter_rate, rate)
    return found


def _reference(dim: int, dims: Sequence[int]) -> str:
    return "frozen backbone" if dim == dims[-1] else f"frozen backbone, truncated to {dim}"


def _compare(rows: Mapping[str, Row]) -> dict[str, GateComparison]:
    return {
        dim: GateComparison(
            reference=rows[dim].reference,
            unit=rows[dim].unit,
            eer=rows[dim].rate.rate,
            reference_eer=rows[dim].reference_rate.rate,
            upper=judged.upper,
            margin=judged.margin,
            subjects=rows[dim].units,
            mated_pairs=rows[dim].trials,
            confidence=RULE.confidence,
            resamples=rows[dim].rate.draws.size,
            verdict=judged.verdict,
        )
        for dim, judged in judge_rows(rows, RULE).items()
    }


def _order(shorter: int, shorter_rate: DrawnRate, rate: DrawnRate) -> DimOrder:
    return DimOrder(
        against_dim=shorter, difference=rate.rate - shorter_rate.rate, lower=order_bound(rate, shorter_rate)
    )


def dim_gates(per_dim: Mapping[str, DimReport]) -> dict[str, DimGate]:
    """What the gate found, as a manifest or evidence holds it.

    Raises: GateError: a domain was measured at a dim and not judged.
    """
    for dim, report in per_dim.items():
        unjudged = sorted(set(report.metrics) - set(report.gate))
        if unjudged:
            raise GateError(
                f"At dim {dim} the gate did not judge every domain that was measured.",
                value=", ".join(unjudged),
                remedy="Measure again with `matchka-export measure CHECKPOINT`.",
            )
    return {dim: DimGate(report.gate, report.order) for dim, report in per_dim.items()}


def require_passed(found: Mapping[str, DimGate], accept_worse: str | None) -> str | None:
    """Refuse a graph that may be worse than its frozen backbone at any dim, or of which that cannot be said.

    Args:
        found: what judge found.
        accept_worse: why someone ships it all the same; goes into the manifest.

    Returns: that reason where it was needed, else None.

    Raises:
        GateError: it may be worse by the margin, tells nobody apart, or a longer dim is worse than a shorter one, and
            no reason is given.
        UndecidableError: nothing of this, but too few people or pairs to know, and no reason is given.
    """
    refused = [
        *(_refused(dim, domain, at) for dim, domain, at in _comparisons(found) if at.verdict == "refused"),
        *(
            _out_of_order(dim, domain, at)
            for dim, per_dim in found.items()
            for domain, at in per_dim.order.items()
            if not at.lower <= 0  # written so that NaN fails too
        ),
    ]
    undecided = {domain: at for _, domain, at in _comparisons(found) if at.verdict == "undecidable"}
    if not refused and not undecided:
        return None
    if accept_worse is not None:
        return accept_worse
    shown = "; ".join([*refused, *(_too_few(domain, at) for domain, at in undecided.items())])
    if not refused:
        raise UndecidableError(
            f"Too little was measured to say that the graph is not worse than its frozen backbone. {shown}.",
            remedy=f"Nothing was written. Validate on more people or samples, or {_ACCEPT}.",
        )
    raise GateError(
        f"The graph may be worse than its frozen backbone. {shown}.",
        remedy=f"Nothing was written. Train another projection, leave out those dims, or {_ACCEPT}.",
    )


_ACCEPT: Final = "give `matchka-export run` --accept-worse REASON"


def gate_table(found: Mapping[str, DimGate]) -> Table:
    """What the gate found, for people: rates and points in per cent."""
    table = Table(
        title="Gate: the difference from the frozen backbone is at most `bound`, and must stay below `margin`;\n"
        "a dim is worse than the next shorter one by at least `order`, and must not be"
    )
    for column in ("domain", "dim", "EER %", "backbone %", "bound", "margin", "order", "verdict"):
        table.add_column(column, justify="left" if column in ("domain", "verdict") else "right")
    for domain in dict.fromkeys(domain for _, domain, _ in _comparisons(found)):
        for dim, per_dim in found.items():
            at, order = per_dim.gate[domain], per_dim.order.get(domain)
            rates = [f"{100 * rate:.2f}" for rate in (at.eer, at.reference_eer)]
            bounds = [f"{100 * at.upper:+.2f}", f"{100 * at.margin:.2f}"]
            table.add_row(domain, dim, *rates, *bounds, "-" if order is None else _points(order.lower), at.verdict)
        table.add_section()
    return table


def _comparisons(found: Mapping[str, DimGate]) -> list[tuple[str, str, GateComparison]]:
    return [(dim, domain, at) for dim, per_dim in found.items() for domain, at in per_dim.gate.items()]


def _refused(dim: str, domain: str, at: GateComparison) -> str:
    if at.eer >= RULE.highest:
        return f"{domain} at dim {dim}: EER {100 * at.eer:.2f} % is as good as guessing; are its labels right?"
    return (
        f"{domain} at dim {dim}: EER {100 * at.eer:.2f} % against {100 * at.reference_eer:.2f} % of the "
        f"{at.reference}; the difference may be {_points(at.upper)} points ({at.confidence:.0%} bound), "
        f"and must stay below {100 * at.margin:.2f}"
    )


def _out_of_order(dim: str, domain: str, at: DimOrder) -> str:
    return (
        f"{domain} at dim {dim}: EER {_points(at.difference)} points above that of dim {at.against_dim}, at least "
        f"{_points(at.lower)} (95 % interval); a longer dim must not be worse than a shorter one"
    )


def _too_few(domain: str, at: GateComparison) -> str:
    return (
        f"{domain}: {at.subjects} people and {at.mated_pairs} mated pairs; "
        f"it takes {RULE.least_units} and {RULE.least_trials}"
    )


def _points(rate: float) -> str:
    return f"{100 * rate:+.2f}"


def require_hashes(facts: Facts) -> None:
    """Refuse a manifest whose parts do not say which files they are.

    Raises: GateError: a sha256 is a placeholder.
    """
    for part, source in (("backbone", facts.backbone), ("projection", facts.projection)):
        if source.sha256 == NO_HASH:
            raise GateError(f"The {part} has no sha256.", value=source, remedy="State which file it is.")
