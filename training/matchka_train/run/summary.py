"""Report of a finished run: report.json and report.html."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from matchka_train.evaluation.decisions import as_norm_report, decisions, decisions_as_json, differences_from_raw
from matchka_train.evaluation.identification import IdentificationReport, identification_as_json, identification_rows
from matchka_train.evaluation.validation import compared, report_as_json
from matchka_train.metrics.bootstrap import Difference
from matchka_train.metrics.detection_costs import detection_costs
from matchka_train.modalities.skipped import Skipped
from matchka_train.run.candidate import Fitted, Prepared, ShuffledFit, window_embedder
from matchka_train.run.checkpoint import CheckpointFolder
from matchka_train.run.html_report import Contents, accuracy_rows, write_report
from matchka_train.run.recipe import Recipe


def write_summary(
    recipe: Recipe,
    prepared: Prepared,
    folder: CheckpointFolder,
    fitted: Sequence[Fitted],
    notes: Sequence[str],
    skipped: Sequence[Skipped],
    identified: tuple[IdentificationReport, IdentificationReport],
) -> None:
    """Measure what is left to measure, and write both reports.

    Args:
        recipe: of the run.
        prepared: its features.
        folder: where the reports go.
        fitted: every candidate, the best first.
        notes: what a reader has to know.
        skipped: clips that could not be read.
        identified: gallery against probes, of the best candidate and of the raw backbone.
    """
    best = fitted[0]
    embed = window_embedder(best.module)
    differences = differences_from_raw(embed, prepared.validation, prepared.published, recipe.dims[-1:], recipe.seed)
    history = {entry.candidate.name: entry.history for entry in fitted}
    tables = {"Accuracy on held-out identities": accuracy_rows(best.report, prepared.raw)}
    content: dict[str, Any] = {
        "projected": report_as_json(best.report),
        "raw": report_as_json(prepared.raw),
        "difference_from_raw": {
            domain: {str(dim): asdict(found) for dim, found in per_dim.items()}
            for domain, per_dim in differences.items()
        },
        "decisions": decisions_as_json(decisions(embed, prepared.validation, recipe.dims, recipe.seed)),
        "detection_costs": {
            domain: {
                str(dim): [asdict(cost) for cost in detection_costs(pairs_at(dim), None, recipe.seed)]
                for dim in recipe.dims
            }
            for domain, pairs_at in compared(embed, prepared.validation).items()
        },
        "candidates": [_as_row(entry) for entry in fitted],
        "notes": list(notes),
        "skipped": [asdict(entry) for entry in skipped],
        "history": history,
    }
    if recipe.as_norm is not None:
        normalised = as_norm_report(embed, prepared.validation, prepared.closed_form, recipe.dims, recipe.as_norm)
        content["as_norm"] = report_as_json(normalised)
        tables["With AS-norm (raw: the same without it)"] = accuracy_rows(normalised, best.report)
    if identified[0]:
        projected, raw = identified
        content["identification"] = {
            "projected": identification_as_json(projected),
            "raw": identification_as_json(raw),
        }
        tables["Identification: references of three samples, mated and non-mated probes"] = identification_rows(
            projected, raw
        )
    if best.shuffled is not None:
        heading = "The same, fitted on shuffled labels (raw: fitted on its own)"
        tables[heading] = accuracy_rows(best.shuffled.report, best.report)
    tables["Candidates, the best first"] = _candidate_rows(fitted)
    folder.keep_report(content)
    contents = Contents(
        title=f"Training report: {recipe.name}",
        lines=[*notes, *_skipped_lines(skipped), *_difference_lines(differences)],
        projected=best.report,
        raw=prepared.raw,
        pairs=compared(embed, prepared.validation),
        history=history,
        dims=recipe.dims,
        numbers=tables,
    )
    write_report(folder.path / "report.html", contents)


def _as_row(entry: Fitted) -> dict[str, Any]:
    return {
        "name": entry.candidate.name,
        "family": entry.candidate.projection.family,
        "loss": None if entry.candidate.is_closed_form else entry.candidate.loss.kind,
        "ratio": entry.standing.ratio,
        "excess": entry.standing.excess,
        "best_epoch": entry.best_epoch,
        "flat": entry.flat,
        "projected": report_as_json(entry.report),
        "labels_shuffled": None if entry.shuffled is None else _shuffled_as_json(entry.shuffled),
    }


def _shuffled_as_json(shuffled: ShuffledFit) -> dict[str, Any]:
    return {
        "projected": report_as_json(shuffled.report),
        "ratio": shuffled.standing.ratio,
        "excess": shuffled.standing.excess,
        "mean_eer_difference": {domain: asdict(found) for domain, found in shuffled.differences.items()},
        "as_good": shuffled.as_good,
    }


def _candidate_rows(fitted: Sequence[Fitted]) -> list[list[str]]:
    rows = [["candidate", "worst domain: EER / raw", "worse than raw at full dim by", "best epoch"]]
    for entry in fitted:
        reached = entry.standing
        rows.append([entry.candidate.name, f"{reached.ratio:.3f}", f"{reached.excess:.1%}", str(entry.best_epoch)])
        if entry.shuffled is not None:
            without = entry.shuffled.standing
            rows.append(
                [f"{entry.candidate.name}, labels shuffled", f"{without.ratio:.3f}", f"{without.excess:.1%}", "-"]
            )
    return rows


def _skipped_lines(skipped: Sequence[Skipped]) -> list[str]:
    if not skipped:
        return ["Every clip could be read."]
    return [f"{len(skipped)} clips could not be read:", *(f"{entry.path}: {entry.reason}" for entry in skipped)]


def _difference_lines(differences: Mapping[str, Mapping[int, Difference]]) -> list[str]:
    return [
        f"{domain}, dim {dim}: EER {100 * found.eer:.2f} %, raw backbone {100 * found.other_eer:.2f} %; the 95 % "
        f"interval of the difference is {100 * found.low:+.2f} to {100 * found.high:+.2f} points (paired, by identity)."
        for domain, per_dim in differences.items()
        for dim, found in per_dim.items()
    ]
