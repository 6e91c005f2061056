"""An output that says for each frame of a clip how likely each phone is."""

from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from matchka.bundles.outputs.output import FrozenModel, Output, is_absent

FEWEST_WORDS: Final = 4  # of a phrase; fewer are told apart too badly (docs/decisions/104)
MOST_WORDS: Final = 10

WordCount = Annotated[str, Field(pattern=r"^([4-9]|10)$")]


class PhrasePoint(FrozenModel):
    """A false accept rate, of clips that say another phrase, and the phrase score that keeps it.

    Attributes: measured: false where too few independent speakers support the rate (rule of 30).
    """

    far: float = Field(gt=0, lt=1)
    threshold: float = Field(allow_inf_nan=False)
    measured: bool


class PhonemeMetrics(FrozenModel):
    """What was measured of the phones in one domain; rates are fractions.

    Attributes:
        per: phone error rate: substitutions, insertions and deletions of the likeliest phones, for each phone of the
            text; more than 1 is possible.
        phrase_eer: of "does the clip say this text?"; None where the domain's clips have no texts to compare with.
        speakers: who were measured.
        clips: of theirs.
    """

    per: float = Field(ge=0, allow_inf_nan=False)
    phrase_eer: float | None = Field(default=None, ge=0, le=1)
    speakers: int = Field(ge=1)
    clips: int = Field(ge=1)


class AccuracyScale(FrozenModel):
    """How well people think a text was said, from its phrase score: slope * score + offset, between low and high.

    Attributes:
        pearson: correlation of scores and marks, of speakers whom the scoring head was not trained on.
        error: mean absolute difference of the line from marks of speakers who did not fit it.
        constant_error: the same of the mean mark: what somebody without the score would guess.
        speakers: how many fitted it.
    """

    slope: float = Field(gt=0, allow_inf_nan=False)
    offset: float = Field(allow_inf_nan=False)
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    pearson: float = Field(ge=-1, le=1)
    error: float = Field(ge=0, allow_inf_nan=False)
    constant_error: float = Field(ge=0, allow_inf_nan=False)
    speakers: int = Field(ge=2)


class HeardBounds(FrozenModel):
    """How clearly and how much has to be heard of a text: see matchka.phrases.scores.

    Attributes:
        clear_free_log_posterior: clips with a lower free_log_posterior() are doubtful.
        least_share: so are those with a lower heard_share(). A doubtful clip has to keep the lowest rate of the bundle.
        most_share: clips with a higher one say something beside the text and match no phrase.
    """

    clear_free_log_posterior: float = Field(le=0, allow_inf_nan=False)
    least_share: float = Field(ge=0, lt=1)
    most_share: float = Field(gt=1, allow_inf_nan=False)


class PhonemePosteriorsOutput(Output):
    """Log-probabilities (natural) of blank and of each phone: float32, (batch, frames, 1 + phones); the first is blank.

    Attributes:
        phones: names, in the order of the graph's last axis behind blank: ARPABET without stress.
        frame_period_ms: from one frame to the next.
        lexicon: file of the bundle: lines of a word and its phones, see matchka.phrases.lexicon.Lexicon.parse().
        vocabulary: file of the bundle: the words that phrases are made of, one a line; all are in the lexicon.
        phrase_points: by the number of words of a phrase, the points of the phrase score, falling in far.
        least_free_log_posterior: clips whose likeliest labels have a lower mean log-probability pass as no phrase:
            where nothing is heard clearly, any text explains it as well as any other. None: not measured.
        heard: bounds of what is heard beside the phrase score; None: not measured.
        least_kurtosis: clips whose samples have a lower one are refused as overdriven: see matchka.phrases.distortion.
            None: not measured.
        metrics: by domain.
        accuracy: people's scale of pronunciation, where it was fitted.
        baseline_metrics: the same of the floor that the model has to beat, see the report for what it is.
    """

    evidence = MappingProxyType(
        {
            "metrics": "metrics of",
            "baseline_metrics": "the floor's metrics of",
            "phrase_points": "points of phrases of so many words:",
        }
    )

    kind: Literal["phoneme_posteriors"] = "phoneme_posteriors"
    phones: tuple[Annotated[str, Field(pattern=r"^[A-Z]{1,3}$")], ...] = Field(min_length=2)
    frame_period_ms: float = Field(gt=0, le=1000)
    lexicon: str = Field(min_length=1)
    vocabulary: str = Field(min_length=1)
    phrase_points: dict[WordCount, tuple[PhrasePoint, ...]] = Field(min_length=1)
    least_free_log_posterior: float | None = Field(default=None, le=0, allow_inf_nan=False, exclude_if=is_absent)
    heard: HeardBounds | None = Field(default=None, exclude_if=is_absent)
    least_kurtosis: float | None = Field(default=None, ge=1, allow_inf_nan=False, exclude_if=is_absent)
    accuracy: AccuracyScale | None = Field(default=None, exclude_if=is_absent)
    metrics: dict[str, PhonemeMetrics] = Field(min_length=1)
    baseline_metrics: dict[str, PhonemeMetrics] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_consistent(self) -> "PhonemePosteriorsOutput":
        if len(set(self.phones)) < len(self.phones):
            raise ValueError("phones must not repeat")
        for points in self.phrase_points.values():
            if not points:
                raise ValueError("phrase_points must have at least one point for each number of words")
            rates = [point.far for point in points]
            if rates != sorted(set(rates), reverse=True):
                raise ValueError("phrase_points must fall in far, without repeats")
            thresholds = [point.threshold for point in points]
            if thresholds != sorted(thresholds):
                raise ValueError("thresholds must not fall where far falls")
        return self

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        """(frames, 1 + phones); frames differ from clip to clip."""
        return (None, 1 + len(self.phones))

    @property
    def files(self) -> frozenset[str]:
        """The lexicon and the vocabulary."""
        return frozenset([self.lexicon, self.vocabulary])

    def summary(self) -> dict[str, Any]:
        """Its kind, phones, frame period, and the points of phrases."""
        return self.model_dump(mode="json", exclude={"metrics", "baseline_metrics", "lexicon", "vocabulary"})
