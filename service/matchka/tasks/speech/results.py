"""What the calls about speech return."""

from dataclasses import dataclass

from matchka.bundles.manifest import Manifest


@dataclass(frozen=True)
class PhraseDecision:
    """Whether a clip says a text.

    Attributes:
        llr: see matchka.phrases.scores.phrase_score().
        threshold: that keeps `far`.
        measured: false where too few speakers support the rate, or no phrase of so many words was measured.
        far: share of clips that say something else and are accepted, as the bundle has measured it; the lowest that the
            bundle has where little is heard, or nothing clearly.
        is_possible: whether the ratio means anything: phones are heard clearly, and not many more than the text's.
    """

    llr: float
    threshold: float
    measured: bool
    far: float
    is_possible: bool

    @property
    def match(self) -> bool:
        """Whether it does."""
        return self.is_possible and self.llr >= self.threshold


@dataclass(frozen=True)
class PronouncedPhone:
    """A phone of a word, by its name."""

    phone: str
    llr: float


@dataclass(frozen=True)
class PronouncedWord:
    """A word and its phones, in the pronunciation that was heard."""

    word: str
    llr: float
    phones: tuple[PronouncedPhone, ...]


@dataclass(frozen=True)
class Pronounced:
    """How well a text was said. Attributes: accuracy: on people's scale; None where the bundle has none."""

    manifest: Manifest
    phrase: PhraseDecision
    words: tuple[PronouncedWord, ...]
    accuracy: float | None


@dataclass(frozen=True)
class Transcribed:
    """The phones of a clip, by their names."""

    manifest: Manifest
    phones: tuple[str, ...]
