"""What a run of `task: enhancer` found, as rows of a table."""

from collections.abc import Sequence

from matchka_train.run.enhancer.measured import ProbeReport

HEADER = ("domain", "small by", "px", "found %", "EER %", "enhanced", "TAR@1e-3", "enhanced", "paired*", "at .35*")


def probe_rows(reports: Sequence[ProbeReport], dim: int) -> list[tuple[str, ...]]:
    """A header, and a row for each domain, way and size at one dim; columns with * are misleading."""
    return [HEADER, *(_row(report, dim) for report in reports)]


def _row(report: ProbeReport, dim: int) -> tuple[str, ...]:
    plain, enhanced = report.plain[dim], report.enhanced[dim]
    rates = [f"{100 * one.accuracy.eer:.2f}" for one in (plain, enhanced)]
    accepted = [f"{one.accuracy.tar_at_fmr['0.001']:.3f}" for one in (plain, enhanced)]
    paired = f"{plain.paired:.3f} -> {enhanced.paired:.3f}"
    fixed = f"{plain.fixed:.3f} -> {enhanced.fixed:.3f}"
    return (
        report.domain,
        report.way,
        f"{report.size_px:g}",
        f"{100 * report.found:.1f}",
        *rates,
        *accepted,
        paired,
        fixed,
    )
