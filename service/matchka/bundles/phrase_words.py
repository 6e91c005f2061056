"""The words of a bundle that hears phones: how they are pronounced, and which of them phrases are made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matchka.bundles.manifest import Manifest
from matchka.bundles.outputs.phoneme_posteriors import PhonemePosteriorsOutput
from matchka.errors import BundleError, LexiconError, UnknownWordsError
from matchka.phrases.lexicon import Lexicon, read_vocabulary

# the last fifty phrases may have 500 of them, and the next one of four words none of those (docs/decisions/105)
FEWEST_WORDS: Final = 600
REBUILD: Final = "Build the bundle again."


@dataclass(frozen=True)
class PhraseWords:
    """Attributes: vocabulary: the words of phrases, at least FEWEST_WORDS; all are in the lexicon."""

    lexicon: Lexicon
    vocabulary: tuple[str, ...]


def open_phrase_words(folder: Path, manifest: Manifest) -> PhraseWords | None:
    """The words of a bundle; None where it does not hear phones.

    Raises: BundleError: a file is not what the manifest says, or does not fit the other.
    """
    if not manifest.has_output(PhonemePosteriorsOutput):
        return None
    output = manifest.output(PhonemePosteriorsOutput)
    try:
        lexicon = Lexicon.parse((folder / output.lexicon).read_text(encoding="utf-8"), output.phones)
        vocabulary = read_vocabulary((folder / output.vocabulary).read_text(encoding="utf-8"))
        lexicon.pronunciations(vocabulary)
    except (OSError, UnicodeError, LexiconError, UnknownWordsError) as error:
        raise BundleError(f"The words of {folder} cannot be used.", value=error, remedy=REBUILD) from error
    if len(vocabulary) < FEWEST_WORDS:
        raise BundleError(
            f"The vocabulary of {folder} needs at least {FEWEST_WORDS} words.", value=len(vocabulary), remedy=REBUILD
        )
    return PhraseWords(lexicon, vocabulary)
