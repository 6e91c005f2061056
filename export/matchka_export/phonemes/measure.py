"""Measures the exported graph of a head, and the floor's beside it, on people who trained and chose nothing."""

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from matchka.bundles.manifest import DatasetUse
from matchka.bundles.outputs.phoneme_posteriors import (
    FEWEST_WORDS,
    MOST_WORDS,
    HeardBounds,
    PhonemeMetrics,
    PhrasePoint,
)
from matchka.inference.session import OrtSession
from matchka.phrases.lattice import Text
from matchka.phrases.lexicon import Lexicon, read_vocabulary, words_in
from matchka.phrases.scores import free_log_posterior, heard_share
from matchka.vectors import FloatArray
from matchka_export.bundle import library_versions
from matchka_export.gate.parity import require_parity
from matchka_export.phonemes.evidence import PhonemeEvidence, UnseenRates
from matchka_export.phonemes.gate import PER, PHRASE_EER, compare_errors, compare_phrases
from matchka_export.phonemes.graph import LOG_POSTERIORS, export_posteriors, proven_clips
from matchka_export.phonemes.heads import OpenedHead, open_head
from matchka_export.phonemes.marks import read_scale
from matchka_export.phonemes.microphones import try_other_microphones
from matchka_export.phonemes.vocabulary import LEXICON_NAME, VOCABULARY_NAME, write_vocabulary
from matchka_train.datasets.phones import PHONES
from matchka_train.datasets.reader import read_dataset
from matchka_train.datasets.transcripts import ReadSpeech, read_transcripts
from matchka_train.evaluation.phrases import (
    FALSE_ACCEPT_RATES,
    PhraseScores,
    ReadText,
    accept_thresholds,
    draw_trials,
    false_reject_rate,
    halves,
    score_trials,
)
from matchka_train.metrics.error_rates import equal_error_rate
from matchka_train.metrics.identity_bootstrap import LEAST_PEOPLE
from matchka_train.metrics.phone_errors import PhoneErrors, phone_errors
from matchka_train.modalities.clip_limits import ClipLimits
from matchka_train.modalities.skipped import Skipped
from matchka_train.modalities.whole_clip import read_whole_clip

SEED: Final = 20261122
DOUBTFUL: Final = 0.005  # of right clips, in each of two ways: docs/decisions/109 has what that keeps out
LEAST_KURTOSIS: Final = 2.0  # of a clip's samples: docs/decisions/109 has what passes it, and what does not
SPLITS: Final = 10  # ways to halve the people: each clip is judged about five times
THREADS: Final = 1
HALF_RESAMPLES: Final = 200  # of a half of the people: its bound is averaged over the halves
ALL: Final = "all"

Chosen: TypeAlias = npt.NDArray[np.bool_]  # which clips


@dataclass(frozen=True)
class MeasuredHead:
    """What a head's graph makes of the clips.

    Attributes:
        errors: of greedy decoding.
        scores: of phrases; clips with a word that the lexicon does not have are left out.
        parity: largest absolute difference of the graph from torch.
        least_free_log_posterior: of all clips; see matchka.phrases.scores.free_log_posterior.
        heard: bounds of clips that say a text of at least FEWEST_WORDS words.
    """

    errors: PhoneErrors
    scores: PhraseScores
    parity: float
    least_free_log_posterior: float
    heard: HeardBounds


def measure_head(
    head_path: Path,
    floor_path: Path,
    data: ReadSpeech,
    marks: Path | None,
    samples: Path,
    downloads: Path,
    progress: Progress,
) -> PhonemeEvidence:
    """Export head and floor, and measure both graphs on the same clips.

    Args:
        head_path: the head.
        floor_path: a head on log-mel frames, trained on the same clips.
        data: people who neither trained nor chose anything.
        marks: what the benchmark found of people's marks; None leaves their scale out.
        samples: recordings as `matchka-export samples` writes them.
        downloads: the folder that keeps package files.
        progress: shows how far it is.

    Raises: MatchkaError: as the steps below.
    """
    with tempfile.TemporaryDirectory(prefix="matchka-measure-") as scratch:
        folder = Path(scratch)
        write_vocabulary(folder, downloads)
        lexicon = Lexicon.parse((folder / LEXICON_NAME).read_text(encoding="utf-8"), PHONES)
        vocabulary = read_vocabulary((folder / VOCABULARY_NAME).read_text(encoding="utf-8"))
        head, floor = open_head(head_path, downloads), open_head(floor_path, downloads)
        accuracy = None if marks is None else read_scale(marks, head.info.recipe, head.encoder_sha256)
        run, parity = _export(head, folder / "head.onnx")
        found = _measure(run, parity, head, data, lexicon, progress)
        floor_run, floor_parity = _export(floor, folder / "floor.onnx")
        beside = _measure(floor_run, floor_parity, floor, data, lexicon, progress)
        others = try_other_microphones(run, head.spec, samples, lexicon, vocabulary, SEED)
    return PhonemeEvidence(
        head_sha256=head.sha256,
        encoder_sha256=head.encoder_sha256,
        parity=found.parity,
        blank_share=found.errors.blank_share,
        gate={
            PER: compare_errors(found.errors, beside.errors, SEED),
            PHRASE_EER: compare_phrases(found.scores.pairs(), beside.scores.pairs(), SEED),
        },
        metrics={data.domain: _metrics(found)},
        baseline_metrics={data.domain: _metrics(beside)},
        phrase_points=phrase_points(found.scores),
        # rounded down, so that none of these clips is taken for no speech
        least_free_log_posterior=_down(found.least_free_log_posterior),
        heard=found.heard,
        least_kurtosis=LEAST_KURTOSIS,
        accuracy=accuracy,
        unseen=unseen_rates(found.scores),
        other_microphones=others,
        datasets=(
            *(DatasetUse(**dataset) for dataset in head.info.datasets if dataset["source"] != data.source),
            DatasetUse(
                name=data.corpus,
                source=data.source,
                licence=data.licence,
                use="measured the head and set the thresholds of phrases",
            ),
        ),
        commands=(
            f"matchka-export measure-head {head_path.name} {floor_path.name}"
            + ("" if marks is None else f" --marks {marks.name}"),
        ),
        libraries=library_versions(),
    )


def phrase_points(scores: PhraseScores) -> dict[str, tuple[PhrasePoint, ...]]:
    """The thresholds of phrases, by the number of words; none where fewer than 30 people say so many."""
    return {
        str(words): tuple(
            PhrasePoint(far=at.far, threshold=at.threshold, measured=at.measured)
            for at in accept_thresholds(scores.pairs(chosen), SEED)
        )
        for words, chosen in _by_words(scores).items()
    }


def unseen_rates(scores: PhraseScores) -> dict[str, tuple[UnseenRates, ...]]:
    """What thresholds of half of the people do to the other half, by the number of words and for all lengths."""
    everybody = np.array([len(read.words) >= FEWEST_WORDS for read in scores.trials.read])
    chosen = {ALL: everybody} | {str(words): clips for words, clips in _by_words(scores).items()}
    return {name: _unseen(scores, clips) for name, clips in chosen.items()}


def _by_words(scores: PhraseScores) -> dict[int, Chosen]:
    speakers = np.array([read.speaker for read in scores.trials.read])
    found = {words: scores.of_length(words) for words in range(FEWEST_WORDS, MOST_WORDS + 1)}
    return {words: clips for words, clips in found.items() if np.unique(speakers[clips]).size >= LEAST_PEOPLE}


def _unseen(scores: PhraseScores, clips: Chosen) -> tuple[UnseenRates, ...]:
    rows = []
    for half in halves([read.speaker for read in scores.trials.read], SPLITS, SEED):
        for own in (half, ~half):
            setting, judged = scores.pairs(clips & own), scores.pairs(clips & ~own)
            rows.append(
                [
                    (
                        false_reject_rate(judged.non_mated, at.threshold),
                        false_reject_rate(judged.mated, at.threshold),
                        false_reject_rate(judged.mated, at.estimate),
                    )
                    for at in accept_thresholds(setting, SEED, resamples=HALF_RESAMPLES)
                ]
            )
    means = np.mean(rows, axis=0)
    return tuple(
        UnseenRates(
            far=far,
            accepted=1.0 - float(below),
            rejected=float(rejected),
            plainly_rejected=float(plainly),
            clips=int(np.count_nonzero(clips)),
        )
        for far, (below, rejected, plainly) in zip(sorted(FALSE_ACCEPT_RATES, reverse=True), means, strict=True)
    )


def _export(head: OpenedHead, path: Path) -> tuple[Callable[[FloatArray], FloatArray], float]:
    """Write and prove the graph; what runs one clip through it, and the largest difference."""
    export_posteriors(head.model, head.spec, path)
    session = open_posteriors(path, head)
    parity = require_parity(head.model, session, proven_clips(head.spec))
    return lambda clip: session.run(clip)[LOG_POSTERIORS][0], parity


def open_posteriors(path: Path, head: OpenedHead) -> OrtSession:
    """The graph, opened as the service opens it.

    Raises: BundleError: its input or output is another.
    """
    expected = head.spec.graph_input()
    return OrtSession(path, expected.name, expected.shape, {LOG_POSTERIORS: (None, len(head.info.classes))}, THREADS)


def _measure(
    run: Callable[[FloatArray], FloatArray],
    parity: float,
    head: OpenedHead,
    data: ReadSpeech,
    lexicon: Lexicon,
    progress: Progress,
) -> MeasuredHead:
    clips = read_dataset(data)
    transcripts = read_transcripts(data, clips)
    posteriors: list[FloatArray] = []
    kept: list[int] = []
    for number, sample in enumerate(progress.track(clips, description="reading clips")):
        clip = read_whole_clip(sample, head.encoders[0].input, ClipLimits())
        if not isinstance(clip, Skipped):
            posteriors.append(run(clip[None]))
            kept.append(number)
    speakers = [clips[number].subject for number in kept]
    errors = phone_errors(posteriors, [transcripts[number].phones for number in kept], speakers)
    words = [tuple(words_in(transcripts[number].text)) for number in kept]
    known = [number for number, said in enumerate(words) if said and all(word in lexicon.entries for word in said)]
    read = [ReadText(words[number], lexicon.pronunciations(words[number]), speakers[number]) for number in known]
    said = [posteriors[number] for number in known]
    return MeasuredHead(
        errors,
        score_trials(progress.track(said, description="scoring phrases"), draw_trials(read, SEED)),
        parity,
        min(free_log_posterior(clip) for clip in posteriors),
        heard_bounds(
            [(clip, text.text) for clip, text in zip(said, read, strict=True) if len(text.words) >= FEWEST_WORDS]
        ),
    )


def heard_bounds(right: Sequence[tuple[FloatArray, Text]]) -> HeardBounds:
    """Bounds that hold a few right clips for doubtful, and hold none for something else than the text.

    Args: right: log-posteriors of clips, and the text that each says.
    """
    frees = [free_log_posterior(clip) for clip, _ in right]
    shares = [heard_share(clip, text) for clip, text in right]
    return HeardBounds(
        clear_free_log_posterior=_down(float(np.quantile(frees, DOUBTFUL))),
        least_share=_down(float(np.quantile(shares, DOUBTFUL))),
        most_share=-_down(-max(shares)),
    )


def _down(value: float) -> float:
    """Rounded down to two decimals."""
    return math.floor(100 * value) / 100


def _metrics(found: MeasuredHead) -> PhonemeMetrics:
    pairs = found.scores.pairs()
    return PhonemeMetrics(
        per=found.errors.rate,
        phrase_eer=equal_error_rate(pairs.mated, pairs.non_mated),
        speakers=len(set(found.errors.subjects)),
        clips=len(found.errors.phones),
    )
