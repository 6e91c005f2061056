"""A model that hears phones: clips -> posteriors, and what texts are to it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from matchka.bundles.manifest import Manifest
from matchka.bundles.outputs.phoneme_posteriors import PhonemePosteriorsOutput
from matchka.bundles.phrase_words import PhraseWords
from matchka.errors import DistortedClipError, DurationMismatchError, OutputNotAvailableError
from matchka.inference.model import Model
from matchka.modalities.modality import InputArray
from matchka.phrases.distortion import kurtosis
from matchka.phrases.lattice import BLANK, Text
from matchka.phrases.scores import phone_count
from matchka.vectors import FloatArray

LONGEST_S: Final = 15.0  # ten words with pauses; a longer clip only gives an attacker more to try
LEAST_S_PER_PHONE: Final = 0.09  # 3 frames of 30 ms; how fast people speak is in docs/decisions/105
MOST_S_PER_PHONE: Final = 0.6
MOST_SILENCE_S: Final = 3.0  # before and behind


@dataclass(frozen=True)
class Recogniser:
    """A served model that returns posteriors of phones, and its words."""

    model: Model
    output: PhonemePosteriorsOutput
    words: PhraseWords

    @property
    def manifest(self) -> Manifest:
        """What it is."""
        return self.model.manifest

    def read(self, sample: bytes) -> InputArray:
        """A clip as the graph takes it, (1, samples).

        Raises: DurationMismatchError: it is longer than LONGEST_S. MatchkaError: it cannot be used.
        """
        (observation,) = self.model.read(sample, self.model.options_for("probe", {}))
        if self.manifest.input.duration_s(observation.rows) > LONGEST_S:
            raise DurationMismatchError(
                f"The clip is longer than {LONGEST_S:g} s.", remedy=f"Send at most {LONGEST_S:g} s."
            )
        return observation.rows

    def require_duration(self, clip: InputArray, words: Text) -> None:
        """Refuse a clip that cannot be a text, before anything is computed of it.

        Raises: DurationMismatchError: it is too short or too long for the text's phones.
        """
        duration_s, phones = self.manifest.input.duration_s(clip), phone_count(words)
        least_s = LEAST_S_PER_PHONE * phones
        if least_s > LONGEST_S:
            raise DurationMismatchError(
                f"A clip of {LONGEST_S:g} s cannot hold so long a text.",
                value=f"{phones} phones",
                remedy="Send parts of it, each with its own clip.",
            )
        most_s = min(MOST_S_PER_PHONE * phones + MOST_SILENCE_S, LONGEST_S)
        if not least_s <= duration_s <= most_s:
            raise DurationMismatchError(
                f"A clip of this text lasts from {least_s:.1f} to {most_s:.1f} s.",
                value=f"{duration_s:.2f} s",
                remedy="Record the whole text, and nothing else.",
            )

    def require_undistorted(self, clip: InputArray) -> None:
        """Refuse a clip that is too overdriven for a phrase to be heard in it, before anything is computed of it.

        Raises: DistortedClipError: its samples' kurtosis is below what the bundle states.
        """
        least = self.output.least_kurtosis
        if least is not None and (found := kurtosis(clip[0])) < least:
            raise DistortedClipError(
                f"The recording is overdriven: the kurtosis of its samples is below {least:g}.",
                value=f"{found:.2f}",
                remedy="Lower the microphone's gain, or speak from further away.",
            )

    def log_posteriors(self, clip: InputArray) -> FloatArray:
        """Posteriors of a clip: float32, (frames, 1 + phones)."""
        outputs = self.model.session.run(clip)
        posteriors: FloatArray = outputs[self.manifest.output_name(PhonemePosteriorsOutput)][0]
        return posteriors

    def text(self, words: Sequence[str]) -> Text:
        """Words with their pronunciations.

        Raises: UnknownWordsError: some are not in the lexicon.
        """
        return self.words.lexicon.pronunciations(words)

    def likeliest_phones(self, log_posteriors: FloatArray) -> tuple[str, ...]:
        """Names of the phones on the best path of each frame by itself."""
        labels = [label for label, _ in groupby(log_posteriors.argmax(axis=1).tolist()) if label != BLANK]
        return tuple(self.output.phones[label - 1] for label in labels)


def recogniser_of(model: Model) -> Recogniser:
    """A model as one that hears phones.

    Raises: OutputNotAvailableError: it does not.
    """
    output = model.manifest.output(PhonemePosteriorsOutput)
    if model.phrase_words is None:
        raise ValueError("open_model() opens the words of every bundle that has this output")
    return Recogniser(model, output, model.phrase_words)


def choose_model(models: Iterable[Model], name: str | None) -> Model:
    """The one that hears what was asked for: that of a name or, without one, the only one that hears phones.

    Args:
        models: the current versions of all that are served.
        name: of the settings.

    Raises: OutputNotAvailableError: there is none, or more than one and no name.
    """
    hearing = [model for model in models if model.manifest.has_output(PhonemePosteriorsOutput)]
    chosen = [model for model in hearing if name is None or model.manifest.name == name]
    if len(chosen) == 1:
        return chosen[0]
    known = ", ".join(model.manifest.name for model in hearing) or "none"
    raise OutputNotAvailableError(
        f"A spoken challenge needs one model with the output phoneme_posteriors; served are: {known}.",
        value=name,
        remedy="Name one in MATCHKA_CHALLENGE_MODEL."
        if hearing
        else "Build one with `matchka-export defaults`, and serve it beside the others.",
    )
