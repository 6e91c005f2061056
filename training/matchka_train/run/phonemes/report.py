"""Report of a finished head: report.json and report.html."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from matchka_train.fitting.ctc.loop import TrainedHead
from matchka_train.heads.phones.storage import HeadInfo
from matchka_train.metrics.phone_errors import PhoneErrors
from matchka_train.modalities.skipped import Skipped
from matchka_train.run.checkpoint import CheckpointFolder
from matchka_train.run.page import new_figure, write_page
from matchka_train.run.phonemes.recipe import PhonemeRecipe


@dataclass(frozen=True)
class ShuffledHead:
    """The same fit on transcripts of other clips.

    Attributes:
        epochs: how many it had.
        errors: on the held-out speakers' true transcripts.
    """

    epochs: int
    errors: PhoneErrors


@dataclass(frozen=True)
class HeadReport:
    """What a run found.

    Attributes:
        checkpoint: the folder, with head.safetensors, recipe.yaml, report.json and report.html.
        held_out: errors on the speakers that chose the epoch.
        reported: errors in each domain, on speakers that decided nothing.
        seen_texts: of the same clips, whether their text is read in training too.
        trained: the head and its epochs.
        shuffled: the fit on shuffled transcripts; None where the recipe leaves it out.
        skipped: clips that could not be read.
    """

    checkpoint: Path
    held_out: PhoneErrors
    reported: Mapping[str, PhoneErrors]
    seen_texts: Mapping[str, npt.NDArray[np.bool_]]
    trained: TrainedHead
    shuffled: ShuffledHead | None
    skipped: tuple[Skipped, ...]

    def parts(self) -> dict[str, PhoneErrors]:
        """What is reported, by the words of its row; texts that occur in training are left out in a row of its own."""
        found: dict[str, PhoneErrors] = {}
        for domain, errors in self.reported.items():
            found[domain] = errors
            seen = self.seen_texts[domain]
            if seen.any() and not seen.all():
                found[f"{domain}, texts not in training"] = errors.select(~seen)
        return found | {"held-out speakers (chose the epoch)": self.held_out}

    def notes(self) -> list[str]:
        """What a reader has to know."""
        lines = [f"{len(self.skipped)} clips could not be read: {entry.path}: {entry.reason}" for entry in self.skipped]
        if self.held_out.blank_share == 1.0:
            lines.append("The head says nothing but blank: it needs more steps, or another encoder.")
        if self.shuffled is not None and self.shuffled.errors.rate <= self.held_out.rate:
            lines.append("Trained on shuffled transcripts the head is as good: it learned nothing from them.")
        return lines


def per_rows(report: HeadReport, seed: int) -> list[list[str]]:
    """Rows of the table of phone error rates, the header first."""
    rows = [["clips", "count", "speakers", "PER", "95 % by speaker", "blank frames"]]
    for name, errors in report.parts().items():
        low, high = errors.interval(seed)
        people = len(set(errors.subjects))
        rows.append(
            [
                name,
                str(len(errors.phones)),
                str(people),
                f"{errors.rate:.4f}",
                f"{low:.4f}-{high:.4f}",
                f"{errors.blank_share:.0%}",
            ]
        )
    if report.shuffled is not None:
        errors, epochs = report.shuffled.errors, report.shuffled.epochs
        name = f"held-out speakers, {epochs} epochs on shuffled transcripts"
        rows.append([name, str(len(errors.phones)), "", f"{errors.rate:.4f}", "", f"{errors.blank_share:.0%}"])
    return rows


def write_head_report(recipe: PhonemeRecipe, folder: CheckpointFolder, report: HeadReport, info: HeadInfo) -> None:
    """Write both reports."""
    weights = {
        encoder.name: shares for encoder, shares in zip(info.encoders, report.trained.best.layer_weights(), strict=True)
    }
    content: dict[str, Any] = {
        "per": {name: _as_json(errors, recipe.seed) for name, errors in report.parts().items()},
        "layer_weights": weights,
        "parameters": sum(tensor.numel() for tensor in report.trained.best.parameters()),
        "best_epoch": report.trained.best_epoch,
        "history": report.trained.history,
        "shuffled": None
        if report.shuffled is None
        else {"epochs": report.shuffled.epochs, **_as_json(report.shuffled.errors, recipe.seed)},
        "notes": report.notes(),
        "skipped": [asdict(entry) for entry in report.skipped],
    }
    folder.keep_report(content)
    layers = [[name, ", ".join(f"{share:.2f}" for share in shares)] for name, shares in weights.items()]
    tables = {"Phone error rates": per_rows(report, recipe.seed), "Layers": [["encoder", "weights"], *layers]}
    figures = [("PER of held-out speakers per epoch", _epochs(report.trained.history))]
    write_page(folder.path / "report.html", f"Training report: {recipe.name}", report.notes(), tables, figures)


def _as_json(errors: PhoneErrors, seed: int) -> dict[str, Any]:
    low, high = errors.interval(seed)
    return {
        "rate": errors.rate,
        "low": low,
        "high": high,
        "clips": len(errors.phones),
        "speakers": len(set(errors.subjects)),
        "blank_share": errors.blank_share,
    }


def _epochs(history: list[dict[str, Any]]) -> Figure:
    figure, (left, right) = new_figure(columns=2)
    left.plot([entry["epoch"] for entry in history], [entry["loss"] for entry in history])
    left.set(xlabel="epoch", ylabel="CTC loss")
    measured = [entry for entry in history if "per" in entry]
    for key, label in (("per", "PER"), ("blank_share", "blank frames")):
        right.plot([entry["epoch"] for entry in measured], [entry[key] for entry in measured], label=label)
    right.set(xlabel="epoch", ylim=(0, None))
    right.legend(loc="upper right")
    return figure
