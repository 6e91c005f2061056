"""What is said, which class it is, which parameters."""

from typing import Any

from matchka.client.answers.answer import Answer
from matchka.client.answers.decisions import PhraseAnswer


class PronouncedPhoneAnswer(Answer):
    """A phone (ARPABET) and its log-likelihood ratio: near 0 where it was said, lower where it was not."""

    phone: str
    llr: float | None


class PronouncedWordAnswer(Answer):
    """A word, its ratio for each of its phones, and the phones of the pronunciation that was heard."""

    word: str
    llr: float | None
    phones: list[PronouncedPhoneAnswer]


class PronounceAnswer(Answer):
    """How well a text was said; `accuracy` is on people's scale, null where the bundle was not fitted to one."""

    phrase: PhraseAnswer
    words: list[PronouncedWordAnswer]
    accuracy: float | None
    model: str
    version: str


class TranscribeAnswer(Answer):
    """The phones of a clip (ARPABET), without words."""

    phones: list[str]
    model: str
    version: str


class ClassAnswer(Answer):
    """A class, and how probable it is."""

    label: str
    probability: float | None


class ClassifyAnswer(Answer):
    """The class of a sample; `label` is None where it is of none that the model knows.

    `classes`: all of them, the most probable first. `values`: what else the model estimates, by name, for example
    `snr_db`. `windows`: rows of the graph's output that all of it is pooled over. `sample`: what was seen of the sample
    before: of a radio recording its windows, samples and power.
    """

    label: str | None
    classes: list[ClassAnswer]
    values: dict[str, float]
    windows: int
    sample: dict[str, Any] | None
    model: str
    version: str


class ParametersAnswer(Answer):
    """A setting: each parameter by name, in its unit and within its range."""

    parameters: dict[str, float]
    model: str
    version: str
