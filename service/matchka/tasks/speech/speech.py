"""Speech: pronunciation and transcription. Its calls block; routes run them on worker threads."""

import numpy as np

from matchka.errors import EmptyTextError
from matchka.inference.registry import ModelRegistry
from matchka.phrases.lexicon import words_in
from matchka.phrases.scores import spoken_words
from matchka.tasks.speech.phrase import decide_phrase
from matchka.tasks.speech.recogniser import recogniser_of
from matchka.tasks.speech.results import Pronounced, PronouncedPhone, PronouncedWord, Transcribed


class Speech:
    """What is heard in clips.

    Args: models: the served ones.
    """

    def __init__(self, models: ModelRegistry) -> None:
        self._models = models

    def pronounce(self, model_name: str, clip: bytes, text: str, max_far: float) -> Pronounced:
        """How well a clip says a text, word by word.

        Raises:
            UnknownModelError, OutputNotAvailableError: there is no such model, or it hears no phones.
            EmptyTextError, UnknownWordsError: the text has no words, or some that the model does not know.
            MatchkaError: the clip cannot be the text; see Recogniser.
        """
        recogniser = recogniser_of(self._models.current(model_name))
        words = words_in(text)
        if not words:
            raise EmptyTextError("The text has no words.", value=text, remedy="Send the words that were said.")
        ways = recogniser.text(words)
        rows = recogniser.read(clip)
        recogniser.require_duration(rows, ways)
        recogniser.require_undistorted(rows)
        log_posteriors = recogniser.log_posteriors(rows)
        decision = decide_phrase(log_posteriors, ways, recogniser.output, max_far)
        spoken = spoken_words(log_posteriors, ways)
        names = recogniser.output.phones
        scale = recogniser.output.accuracy
        return Pronounced(
            recogniser.manifest,
            decision,
            tuple(
                PronouncedWord(word, one.llr, tuple(PronouncedPhone(names[p.phone - 1], p.llr) for p in one.phones))
                for word, one in zip(words, spoken, strict=True)
            ),
            None if scale is None else float(np.clip(scale.slope * decision.llr + scale.offset, scale.low, scale.high)),
        )

    def transcribe(self, model_name: str, clip: bytes) -> Transcribed:
        """The likeliest phones of a clip.

        Raises: UnknownModelError, OutputNotAvailableError: there is no such model, or it hears no phones.
        """
        recogniser = recogniser_of(self._models.current(model_name))
        found = recogniser.likeliest_phones(recogniser.log_posteriors(recogniser.read(clip)))
        return Transcribed(recogniser.manifest, found)
