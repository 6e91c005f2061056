"""Accuracy as tables for a terminal."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from matchka_train.evaluation.identification import IdentificationReport, identification_rows
from matchka_train.evaluation.validation import Report
from matchka_train.fitting.selection import Standing
from matchka_train.heads.words.judging.figures import WordMeasures
from matchka_train.judging.groups import GroupRates
from matchka_train.judging.judge import JudgedThreshold, Judgement
from matchka_train.metrics.bootstrap import Difference
from matchka_train.metrics.detection_costs import PRIORS
from matchka_train.run.candidate import Fitted


def accuracy_table(projected: Report, raw: Report) -> Table:
    """EER, minDCF and TAR per domain and dim, the raw backbone truncated to the same dim beside each EER."""
    table = Table(title="Accuracy on held-out identities, all pairs within a domain")
    for column in ("domain", "dim", "EER %", "raw EER %", "EER / raw at full dim", "minDCF", "TAR@FMR 1e-2", "1e-3"):
        table.add_column(column, justify="left" if column == "domain" else "right")
    for domain, per_dim in projected.items():
        full = raw[domain][max(raw[domain])].eer
        for dim, accuracy in per_dim.items():
            table.add_row(
                domain,
                str(dim),
                f"{100 * accuracy.eer:.2f}",
                f"{100 * raw[domain][dim].eer:.2f}",
                f"{accuracy.eer / full:.2f}" if full > 0 else "-",
                f"{accuracy.min_dcf:.3f}",
                *(f"{rate:.3f}" for rate in accuracy.tar_at_fmr.values()),
            )
        table.add_section()
    return table


def identification_table(projected: IdentificationReport, raw: IdentificationReport) -> Table:
    """Gallery against probes, the raw backbone first."""
    header, *rows = identification_rows(projected, raw)
    table = Table(title="Identification: references of three samples, mated and non-mated probes")
    for column in header:
        table.add_column(column, justify="left" if column in header[:2] else "right")
    for row in rows:
        table.add_row(*row)
    return table


def candidate_table(fitted: Sequence[Fitted]) -> Table:
    """Every candidate, the best first: how its worst domain stands beside the raw backbone, and its full-dim EER."""
    table = Table(title="Candidates, the best first")
    domains = list(fitted[0].report)
    for column in ("candidate", "worst domain: EER / raw", *(f"EER % {domain}, full dim" for domain in domains)):
        table.add_column(column, justify="left" if column == "candidate" else "right")
    for entry in fitted:
        table.add_row(entry.candidate.name, *_standing_cells(entry.report, entry.standing))
        if entry.shuffled is not None:
            cells = _standing_cells(entry.shuffled.report, entry.shuffled.standing)
            table.add_row(f"{entry.candidate.name}, labels shuffled", *cells)
    return table


def _standing_cells(report: Report, standing: Standing) -> list[str]:
    worse = f" (+{standing.excess:.0%} at full dim)" if standing.excess > 0 else ""
    return [f"{standing.ratio:.3f}{worse}", *(f"{100 * per_dim[max(per_dim)].eer:.2f}" for per_dim in report.values())]


def judgement_table(found: Judgement) -> Table:
    """EER with its interval, and TAR per domain and dim, and the EER with AS-norm where a cohort was given."""
    table = Table(title="Accuracy, all pairs or the listed trials; 95 % interval by identity")
    columns = ["domain", "dim", "EER %", "95 %", "TAR@FMR 1e-2", "TAR@FMR 1e-3", "subjects", "mated", "non-mated"]
    for column in (*columns, *(["EER % with AS-norm"] if found.normalised else [])):
        table.add_column(column, justify="left" if column == "domain" else "right")
    for domain, per_dim in found.report.items():
        for dim, accuracy in per_dim.items():
            drawn = found.intervals.get(domain, {}).get(dim)
            interval = "-" if drawn is None else f"{100 * drawn[0]:.2f}..{100 * drawn[1]:.2f}"
            cells = [domain, str(dim), f"{100 * accuracy.eer:.2f}", interval]
            cells += [f"{rate:.3f}" for rate in accuracy.tar_at_fmr.values()]
            cells += [str(accuracy.subjects), str(accuracy.mated_pairs), str(accuracy.non_mated_pairs)]
            if found.normalised:
                cells.append(f"{100 * found.normalised[domain][dim].eer:.2f}")
            table.add_row(*cells)
        table.add_section()
    return table


def cost_table(found: Judgement) -> Table:
    """What decisions cost at each prior: the least these similarities allow, and at the calibrated threshold."""
    table = Table(title="Detection cost, minDCF / actDCF, at a prior of")
    for column in ("domain", "dim", *(f"{prior:g}" for prior in PRIORS)):
        table.add_column(column, justify="left" if column == "domain" else "right")
    for domain, per_dim in found.costs.items():
        for dim, costs in per_dim.items():
            shown = (f"{cost.min_dcf:.3f} / {'-' if cost.act_dcf is None else f'{cost.act_dcf:.3f}'}" for cost in costs)
            table.add_row(domain, str(dim), *shown)
        table.add_section()
    return table


def group_table(groups: Sequence[GroupRates], column: str) -> Table:
    """The groups beside each other at the largest dim, all at the same thresholds; smaller dims are in the JSON."""
    full = max(entry.dim for entry in groups)
    shown = [entry for entry in groups if entry.dim == full]
    table = Table(
        title=f"By {column}, dim {full}, pairs within a group; FMR / FNMR in % at the thresholds for an FMR of"
    )
    rates = [f"{point.fmr:g}" for point in shown[0].rates]
    for name in ("domain", column, "subjects", "mated", "non-mated", "EER %", *rates):
        table.add_column(name, justify="left" if name in {"domain", column} else "right")
    for entry in shown:
        counts = [str(count) for count in (entry.subjects, entry.mated_pairs, entry.non_mated_pairs)]
        both = [f"{_per_cent(at.measured_fmr, 2)} / {_per_cent(at.measured_fnmr, 1)}" for at in entry.rates]
        table.add_row(entry.domain, entry.group, *counts, _per_cent(entry.eer, 2), *both)
    return table


def _per_cent(rate: float | None, digits: int) -> str:
    return "-" if rate is None else f"{100 * rate:.{digits}f}"


def threshold_table(thresholds: Sequence[JudgedThreshold]) -> Table:
    """What the operating points of a bundle promise, and what they do here."""
    table = Table(title="Operating points of one template: promised and measured")
    for column in ("domain", "dim", "FMR promised", "threshold", "FMR measured", "FNMR measured"):
        table.add_column(column, justify="left" if column == "domain" else "right")
    for entry in thresholds:
        rates = [f"{entry.fmr:g}", f"{entry.threshold:.4f}", f"{entry.measured_fmr:.2e}", f"{entry.measured_fnmr:.3f}"]
        table.add_row(entry.domain, str(entry.dim), *rates)
    return table


def difference_table(differences: Mapping[str, Mapping[int, Difference]]) -> Table:
    """EER of two models and the interval of their difference."""
    table = Table(title="First minus second, paired bootstrap by identity")
    for column in ("domain", "dim", "EER % first", "EER % second", "difference, 95 %", "significant"):
        table.add_column(column, justify="left" if column == "domain" else "right")
    for domain, per_dim in differences.items():
        for dim, found in per_dim.items():
            verdict = "first is worse" if found.significantly_worse else "no"
            verdict = "first is better" if found.significantly_better else verdict
            interval = f"{100 * found.low:+.2f} .. {100 * found.high:+.2f}"
            table.add_row(domain, str(dim), f"{100 * found.eer:.2f}", f"{100 * found.other_eer:.2f}", interval, verdict)
        table.add_section()
    return table


def words_table(measures: WordMeasures) -> Table:
    """What a model of settings and words reaches at each dim, beside the principal components."""
    table = Table("dim", "EER %", "PCA %", "silhouette", "Davies-Bouldin", "error dB", "PCA dB")
    for dim, found in measures.per_dim.items():
        rates = [f"{100 * rate:.1f}" for rate in (found.eer, found.pca_eer)]
        errors = [f"{error:.2f}" for error in (found.error_db, found.pca_error_db)]
        table.add_row(dim, *rates, f"{found.silhouette:.2f}", f"{found.davies_bouldin:.2f}", *errors)
    return table
