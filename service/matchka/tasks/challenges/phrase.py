"""The challenge of kind `phrase`: words drawn at random, to be said."""

from typing import Final

from matchka.errors import InvalidFieldError, OutputNotAvailableError
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
    answered_with: Final = "one recording of the words, and one file for any other model"

    def __init__(self, models: ModelRegistry, model_name: str | None) -> None:
        self._models = models
        self._model_name = model_name

    def require_models(self) -> None:
        """Refuse where no served model hears phrases.

        Raises: OutputNotAvailableError: none does, or several and none of them is named.
        """
        self._recogniser()

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
        """One file for each model, and one of them such that phrases are heard in it."""
        try:
            recogniser = self._recogniser()
        except OutputNotAvailableError:
            return False  # no phrase was given
        return all(len(files) == 1 for files in samples.values()) and self._clip_of(samples, recogniser) is not None

    def require(self, attempt: Attempt) -> None:
        """Refuse a rate that the bundle does not keep.

        Raises: InvalidFieldError: the model for phrases has no such rate.
        """
        require_rate(self._recogniser().output, attempt.max_far)

    def judge(self, content: Content, attempt: Attempt) -> Judged:
        """Whether the clip says the words.

        Raises: MatchkaError: the clip cannot be the phrase; see Recogniser.
        """
        recogniser = self._recogniser()
        clip = self._clip_of(attempt.samples, recogniser)
        if clip is None:
            raise ValueError("takes() refuses samples in which no phrase can be heard")
        rows, text = recogniser.read(clip), recogniser.text(content)
        recogniser.require_duration(rows, text)
        recogniser.require_undistorted(rows)
        decision = decide_phrase(recogniser.log_posteriors(rows), text, recogniser.output, attempt.max_far)
        return Judged(decision, {name: files[0] for name, files in attempt.samples.items()})

    def _clip_of(self, samples: Samples, recogniser: Recogniser) -> bytes | None:
        """The first file for a model that takes the same samples as the one that hears phrases; None without one."""
        kind = recogniser.model.modality.kind
        return next(
            (files[0] for name, files in samples.items() if self._models.current(name).modality.kind == kind), None
        )

    def _recogniser(self) -> Recogniser:
        currents = [self._models.current(name) for name in self._models.names]
        return recogniser_of(choose_model(currents, self._model_name))
