"""The words of spoken challenges, and how all words of English are said: two files of the bundle.

`words.txt` beside this is the list they are chosen from: common words, most frequent first (by the unigrams of the
language model in the same archive as the dictionary), read by a person, without names, brands, and anything that
somebody might not want to say to a machine.
"""

import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from rich.console import Console

from matchka_export.errors import VocabularyError
from matchka_export.phonemes.phone_distance import PHONES, VOWELS, Pronunciations
from matchka_train.weights.package_catalogue import PRONUNCIATIONS
from matchka_train.weights.packages import read_member

VOCABULARY_NAME: Final = "vocabulary.txt"
LEXICON_NAME: Final = "lexicon.txt"
WORDS: Final = 1024  # ten bits each: six of them are 60
SYLLABLES: Final = (2, 3)  # shorter words are too easily taken for others, longer ones stumbled over
# two substitutions by distant phones and a near one, or as much in losses: docs/decisions/108
LEAST_DISTANCE: Final = 2.5
_VARIANT: Final = re.compile(r"\([0-9]+\)$")

Dictionary = Mapping[str, tuple[tuple[str, ...], ...]]  # word -> its pronunciations, as phones without stress


def read_dictionary(downloads: Path) -> dict[str, tuple[tuple[str, ...], ...]]:
    """The pinned dictionary of English pronunciations.

    Args: downloads: the folder that keeps package files.

    Raises: DownloadError, ChecksumError: it is not to be had, or another one.
    """
    return parse_dictionary(read_member(PRONUNCIATIONS, downloads, Console(stderr=True)).decode("utf-8"))


def parse_dictionary(text: str) -> dict[str, tuple[tuple[str, ...], ...]]:
    r"""Word -> pronunciations, in the order of the file; a second one of `read` is written `read(2)` there.

    Raises: VocabularyError: a phone that is none.

    >>> parse_dictionary("read R EH D\nread(2) R IY D\n")
    {'read': (('R', 'EH', 'D'), ('R', 'IY', 'D'))}
    """
    found: dict[str, tuple[tuple[str, ...], ...]] = {}
    for line in text.splitlines():
        entry, *phones = line.split()
        if unknown := set(phones) - set(PHONES):
            raise VocabularyError(
                f"The dictionary says {entry} with phones that are none of English.",
                value=", ".join(sorted(unknown)),
                remedy="Take a dictionary in ARPABET without stress.",
            )
        word, said = _VARIANT.sub("", entry), tuple(phones)
        known = found.get(word, ())
        found[word] = known if said in known else (*known, said)  # without stress, some are written twice
    return found


def candidate_words() -> list[str]:
    """The words that this repository keeps, most frequent first."""
    return resources.files(__package__).joinpath("words.txt").read_text(encoding="utf-8").split()


def choose_words(candidates: Iterable[str], dictionary: Dictionary, count: int = WORDS) -> list[str]:
    """The first words that are short enough and of which none sounds like another, in any pronunciation.

    Args:
        candidates: in order of preference.
        dictionary: how they are said.
        count: how many to choose.

    Returns: in alphabetical order.

    Raises: VocabularyError: they are too few.
    """
    chosen: list[str] = []
    said = Pronunciations()
    for word in candidates:
        ways = dictionary.get(word, ())
        if not ways or not all(_syllables(phones) in SYLLABLES for phones in ways):
            continue
        if min(said.nearest(phones) for phones in ways) < LEAST_DISTANCE:
            continue
        for phones in ways:
            said.add(phones)
        chosen.append(word)
        if len(chosen) == count:
            return sorted(chosen)
    raise VocabularyError(
        f"Too few of these words are far enough from one another; it takes {count}.",
        value=len(chosen),
        remedy="Add common words to words.txt.",
    )


def write_vocabulary(folder: Path, downloads: Path) -> None:
    """Write both files into a bundle's folder.

    The vocabulary has one word a line, the lexicon one pronunciation a line, as matchka.phrases.lexicon reads them.

    Raises: DownloadError, ChecksumError, VocabularyError: as read_dictionary and choose_words.
    """
    dictionary = read_dictionary(downloads)
    words = choose_words(candidate_words(), dictionary)
    lines = [f"{word} {' '.join(phones)}\n" for word in sorted(dictionary) for phones in dictionary[word]]
    (folder / VOCABULARY_NAME).write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    (folder / LEXICON_NAME).write_text("".join(lines), encoding="utf-8")


def _syllables(phones: Iterable[str]) -> int:
    return sum(phone in VOWELS for phone in phones)
