"""What is asked to be said or done, what was said, and of which class a sample is."""

from datetime import datetime
from typing import Any

from matchka.api.answers.answer import Answer, Score
from matchka.api.answers.decisions import PhraseAnswer, _of_match
from matchka.runtime.audited_request import Decided
from matchka.store.audit.records import Outcome


class ChallengeAnswer(Answer):
    """What a subject has to say, for one use until it expires: words, in this order."""

    challenge_id: str
    kind: str
    phrase: str
    expires_at: datetime


class DirectionsAnswer(Answer):
    """What a head has to do, for one use until it expires: where to look, in this order; left is the person's own."""

    challenge_id: str
    kind: str
    directions: list[str]
    expires_at: datetime


class PronouncedPhoneAnswer(Answer):
    """A phone (ARPABET) and its log-likelihood ratio: near 0 where it was said, lower where it was not."""

    phone: str
    llr: Score


class PronouncedWordAnswer(Answer):
    """A word, its ratio for each of its phones, and the phones of the pronunciation that was heard."""

    word: str
    llr: Score
    phones: list[PronouncedPhoneAnswer]


class PronounceAnswer(Answer):
    """How well a text was said; `accuracy` is on people's scale, null where the bundle was not fitted to one."""

    phrase: PhraseAnswer
    words: list[PronouncedWordAnswer]
    accuracy: Score
    model: str
    version: str

    @property
    def decided(self) -> list[Decided]:
        """See Answer."""
        return [Decided(_of_match(self.phrase.match), None, self.phrase.threshold, self.version)]


class TranscribeAnswer(Answer):
    """The phones of a clip (ARPABET), without words."""

    phones: list[str]
    model: str
    version: str


class ClassAnswer(Answer):
    """A class, and how probable it is."""

    label: str
    probability: Score


class ClassifyAnswer(Answer):
    """The class of a sample; `label` is null where it is of none that the model knows.

    `classes`: all of them, the most probable first. `values`: what else the model estimates, by name, for example
    `snr_db`; the unit of each is in GET /v1/models. `windows`: rows of the graph's output that all of it is pooled
    over. `sample`: what was seen of the sample before: of a radio recording its windows, samples and power.
    """

    label: str | None
    classes: list[ClassAnswer]
    values: dict[str, float]
    windows: int
    sample: dict[str, Any] | None
    model: str
    version: str

    @property
    def decided(self) -> list[Decided]:
        """See Answer."""
        return [Decided(Outcome.UNKNOWN if self.label is None else Outcome.DONE, version=self.version)]


class ParametersAnswer(Answer):
    """A setting: each parameter by name, in its unit and within its range; GET /v1/models lists both."""

    parameters: dict[str, float]
    model: str
    version: str
