"""Speech: spoken challenges, pronunciation and transcription. Its calls block; routes run them on worker threads."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from matchka.errors import EmptyTextError, InvalidFieldError
from matchka.inference.model import Model
from matchka.inference.registry import ModelRegistry
from matchka.phrases.lexicon import words_in
from matchka.phrases.scores import spoken_words
from matchka.store.challenges import Challenge, Challenges
from matchka.tasks.speech.phrase import DEFAULT_WORDS, decide_phrase, draw_phrase, require_rate
from matchka.tasks.speech.recogniser import Recogniser, choose_model, recogniser_of
from matchka.tasks.speech.results import PhraseDecision, Pronounced, PronouncedPhone, PronouncedWord, Transcribed

PHRASE: Final = "phrase"  # the kind of these challenges


@dataclass(frozen=True)
class ChallengeRules:
    """Which model hears challenges, how long they last, and how many a subject is given in an hour."""

    model: str | None
    lifetime_s: float
    most_in_an_hour: int


class Speech:
    """Challenges of any tenant, and what is heard in clips.

    Args:
        models: the served models.
        challenges: of the store.
        rules: of the settings.
    """

    def __init__(self, models: Iterable[Model], challenges: Challenges, rules: ChallengeRules) -> None:
        self._registry = ModelRegistry(models)
        self._challenges = challenges
        self._rules = rules

    def ask(self, tenant: str, subject_id: str, words: int | None = None) -> Challenge:
        """A fresh phrase for a subject to say.

        Raises:
            OutputNotAvailableError: no model can hear it.
            InvalidFieldError: the model was not measured with so many words.
            UnknownSubjectError, TooManyChallengesError: see Challenges.issue().
        """
        recogniser = self._for_challenges()
        count = DEFAULT_WORDS if words is None else words
        if str(count) not in recogniser.output.phrase_points:
            known = ", ".join(sorted(recogniser.output.phrase_points, key=int))
            raise InvalidFieldError(
                "The model was not measured with phrases of so many words.", value=count, remedy=f"Use one of {known}."
            )
        vocabulary = recogniser.words.vocabulary
        return self._challenges.issue(
            tenant,
            subject_id,
            PHRASE,
            self._rules.lifetime_s,
            self._rules.most_in_an_hour,
            lambda earlier: draw_phrase(vocabulary, count, earlier),
        )

    def clip_of(self, samples: Mapping[str, bytes]) -> bytes:
        """The one of a call's samples that a phrase can be heard in.

        Args: samples: by the name of the model that each is for.

        Raises:
            OutputNotAvailableError: no model hears phrases.
            UnknownModelError: one of the names is not served.
            InvalidFieldError: the model for phrases takes other samples than all of these.
        """
        heard = self._for_challenges().model
        for name, sample in samples.items():
            if self._registry.current(name).modality.kind == heard.modality.kind:
                return sample
        raise InvalidFieldError(
            f"challenge_id belongs to a verification with {heard.modality.samples}.",
            value=", ".join(samples),
            remedy="Leave it out, or use another model.",
        )

    def answer(self, tenant: str, subject_id: str, challenge_id: str, clip: bytes, max_far: float) -> PhraseDecision:
        """Whether a clip says what its subject was asked to; the challenge is used up first, whatever the clip is.

        Raises:
            ChallengeNotRedeemableError: it is not there for this subject, now.
            InvalidFieldError: the model has no threshold for so low a rate.
            MatchkaError: the clip cannot be the phrase; see Recogniser.
        """
        recogniser = self._for_challenges()
        require_rate(recogniser.output, max_far)
        words = self._challenges.redeem(tenant, subject_id, challenge_id, PHRASE)
        rows, text = recogniser.read(clip), recogniser.text(words)
        recogniser.require_duration(rows, text)
        recogniser.require_undistorted(rows)
        return decide_phrase(recogniser.log_posteriors(rows), text, recogniser.output, max_far)

    def pronounce(self, model_name: str, clip: bytes, text: str, max_far: float) -> Pronounced:
        """How well a clip says a text, word by word.

        Raises:
            UnknownModelError, OutputNotAvailableError: there is no such model, or it hears no phones.
            EmptyTextError, UnknownWordsError: the text has no words, or some that the model does not know.
            MatchkaError: the clip cannot be the text; see Recogniser.
        """
        recogniser = recogniser_of(self._registry.current(model_name))
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
        recogniser = recogniser_of(self._registry.current(model_name))
        found = recogniser.likeliest_phones(recogniser.log_posteriors(recogniser.read(clip)))
        return Transcribed(recogniser.manifest, found)

    def _for_challenges(self) -> Recogniser:
        currents = [self._registry.current(name) for name in self._registry.names]
        return recogniser_of(choose_model(currents, self._rules.model))
