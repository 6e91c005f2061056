"""The challenge of kind `phrase`: words drawn at random, to be said."""

from typing import Final

from matchka.errors import InvalidFieldError
from matchka.inference.registry import ModelRegistry
from matchka.tasks.challenges.kind import Attempt, Content, Draw, Judged, Samples
from matchka.tasks.speech.phrase import DEFAULT_WORDS, decide_phrase, draw_phrase, require_rate
from matchka.tasks.speech.recogniser import Recogniser, choose_model, recogniser_of

PHRASE: Final = "phrase"


class PhraseChallenge:
    """A fresh phrase, heard by the served model that hears phones.

    Args:
        models: the served ones.
        model_name: of the one that hears phrases, where several could.
    """

    name: Final = PHRASE

    def __init__(self, models: ModelRegistry, model_name: str | None) -> None:
        self._models = models
        self._model_name = model_name

    def draw(self, words: int | None) -> Draw:
        """A phrase of so many words, 6 by default.

        Raises:
            OutputNotAvailableError: no model can hear it.
            InvalidFieldError: the model was not measured with so many words.
        """
        recogniser = self._recogniser()
        count = DEFAULT_WORDS if words is None else words
        if str(count) not in recogniser.output.phrase_points:
            known = ", ".join(sorted(recogniser.output.phrase_points, key=int))
            raise InvalidFieldError(
                "The model was not measured with phrases of so many words.", value=count, remedy=f"Use one of {known}."
            )
        vocabulary = recogniser.words.vocabulary
        return lambda earlier: draw_phrase(vocabulary, count, earlier)

    def takes(self, samples: Samples) -> bool:
        """One file for each model."""
        return all(len(files) == 1 for files in samples.values())

    def require(self, attempt: Attempt) -> None:
        """Refuse a rate that the bundle does not keep, and samples that no phrase can be heard in.

        Raises:
            OutputNotAvailableError: no model hears phrases.
            UnknownModelError: a name is not served.
            InvalidFieldError: the model for phrases takes other samples than all of these, or has no such rate.
        """
        recogniser = self._recogniser()
        self._clip_of(attempt.samples, recogniser)
        require_rate(recogniser.output, attempt.max_far)

    def judge(self, content: Content, attempt: Attempt) -> Judged:
        """Whether the clip says the words.

        Raises: MatchkaError: the clip cannot be the phrase; see Recogniser.
        """
        recogniser = self._recogniser()
        rows, text = recogniser.read(self._clip_of(attempt.samples, recogniser)), recogniser.text(content)
        recogniser.require_duration(rows, text)
        recogniser.require_undistorted(rows)
        decision = decide_phrase(recogniser.log_posteriors(rows), text, recogniser.output, attempt.max_far)
        return Judged(decision, {name: files[0] for name, files in attempt.samples.items()})

    def _clip_of(self, samples: Samples, recogniser: Recogniser) -> bytes:
        heard = recogniser.model
        for name, files in samples.items():
            if self._models.current(name).modality.kind == heard.modality.kind:
                return files[0]
        raise InvalidFieldError(
            f"challenge_id belongs to a verification with {heard.modality.samples}.",
            value=", ".join(samples),
            remedy=f"Send {heard.modality.samples}; a challenge of kind head_turn takes several pictures.",
        )

    def _recogniser(self) -> Recogniser:
        currents = [self._models.current(name) for name in self._models.names]
        return recogniser_of(choose_model(currents, self._model_name))
