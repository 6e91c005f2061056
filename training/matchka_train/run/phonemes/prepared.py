"""Clips with their frames and transcripts, in three parts: trained on, choosing, and reporting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.progress import Progress

from matchka_train.backbones.frames.encoder import FrameEncoder
from matchka_train.datasets.sample import Sample
from matchka_train.datasets.splits import flat
from matchka_train.datasets.transcripts import Transcript, read_transcripts
from matchka_train.errors import RecipeError
from matchka_train.features.frames import extract_frames
from matchka_train.fitting.ctc.clips import SpokenClips, spoken_clips
from matchka_train.modalities.skipped import Skipped
from matchka_train.run.data import DataSets, by_domain, hold_out
from matchka_train.run.phonemes.recipe import PhonemeDataRecipe

PERIOD_TOLERANCE_S: Final = 1e-9


@dataclass(frozen=True)
class PreparedClips:
    """Everything a head is trained and judged on.

    Attributes:
        train: what it is trained on.
        held_out: clips of other people, which choose the epoch.
        reported: of each domain, clips of people who decide nothing.
        skipped: the clips that could not be read.
    """

    train: SpokenClips
    held_out: SpokenClips
    reported: dict[str, SpokenClips]
    skipped: tuple[Skipped, ...]


def prepare_clips(
    recipe: PhonemeDataRecipe, encoders: Sequence[FrameEncoder], data: DataSets, progress: Progress
) -> PreparedClips:
    """Read the transcripts, and compute or find the frames of every clip.

    Raises: RecipeError, DatasetError, FeatureError, TooManyUnreadableError, DiskFullError.
    """
    require_one_period(encoders)
    fitted, held_out = hold_out(flat(data.train), recipe.held_out)
    said = _transcripts(recipe, data)
    reported = by_domain(flat(data.validation))
    skipped: dict[str, Skipped] = {}

    def clips(samples: Sequence[Sample]) -> SpokenClips:
        encoded = [
            extract_frames(samples, encoder, recipe.cache_dir, recipe.limits, data.hashes, progress)
            for encoder in encoders
        ]
        skipped.update({entry.path: entry for features in encoded for entry in features.skipped})
        return spoken_clips(encoded, [said[sample] for sample in samples], [sample.subject for sample in samples])

    train, choosing = clips(fitted), clips(held_out)
    reporting = {domain: clips(samples) for domain, samples in reported.items()}
    return PreparedClips(train, choosing, reporting, tuple(skipped.values()))


def require_one_period(encoders: Sequence[FrameEncoder]) -> None:
    """Refuse encoders whose frames do not fall together.

    Raises: RecipeError.
    """
    periods = [encoder.frame_period_s for encoder in encoders]
    if max(periods) - min(periods) > PERIOD_TOLERANCE_S:
        raise RecipeError(
            "Encoders are fused frame by frame, so their frame periods must be the same.",
            value=dict(zip((encoder.name for encoder in encoders), periods, strict=True)),
            remedy="Set mel_frames of ge2e and log_mel so that they are: 2 for the 20 ms of a speech transformer.",
        )


def _transcripts(recipe: PhonemeDataRecipe, data: DataSets) -> dict[Sample, Transcript]:
    found: dict[Sample, Transcript] = {}
    for datasets, sets in ((recipe.train, data.train), (recipe.validation, data.validation)):
        for dataset, samples in zip(datasets, sets, strict=True):
            found.update(zip(samples, read_transcripts(dataset, samples), strict=True))
    return found
