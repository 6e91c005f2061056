"""Words and how they are pronounced: a lexicon, and a closed vocabulary for phrases."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matchka.errors import LexiconError, UnknownWordsError
from matchka.phrases.lattice import Pronunciation

WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*|\d+")  # a number is one as well: none is known
MOST_NAMED: Final = 5


def words_in(text: str) -> list[str]:
    """The words of a text as a lexicon writes them: lower case, without punctuation.

    >>> words_in("Don't panic, Mr. Dent: 42 e-mails!")
    ["don't", 'panic', 'mr', 'dent', '42', 'e', 'mails']
    """
    return [word.replace("\u2019", "'") for word in WORD.findall(text.casefold())]


@dataclass(frozen=True)
class Lexicon:
    """Pronunciations by word. A phone's place is that on the last axis of posteriors: 1 for the first of `phones`.

    Attributes:
        phones: names of phones.
        entries: word -> its lines' phones, the usual pronunciation first, a line each.
    """

    phones: tuple[str, ...]
    entries: Mapping[str, str]

    @classmethod
    def parse(cls, text: str, phones: tuple[str, ...]) -> "Lexicon":
        r"""Read lines of a word and its phones, separated by blanks; a word's lines are its pronunciations, in order.

        Raises: LexiconError: a line without phones.

        >>> Lexicon.parse("a AH\na EY", ("AH", "EY")).pronunciations(["a"])
        [((1,), (2,))]
        """
        entries: dict[str, str] = {}  # a list for each word would have Python look for garbage all the while
        for number, line in enumerate(text.splitlines(), start=1):
            word, _, spoken = line.partition(" ")
            if not word or not spoken.strip():
                raise LexiconError(
                    "A line of a lexicon is a word, a blank and its phones.",
                    value=f"line {number}: {line}",
                    remedy="Build the bundle again with `matchka-export defaults`.",
                )
            entries[word] = f"{entries[word]}\n{spoken}" if word in entries else spoken
        return cls(phones, entries)

    def pronunciations(self, words: Sequence[str]) -> list[tuple[Pronunciation, ...]]:
        """Of each word, its pronunciations.

        Raises: UnknownWordsError: it has none of some; the error names them. LexiconError: an unknown phone.
        """
        unknown = list(dict.fromkeys(word for word in words if word not in self.entries))
        if unknown:
            named = ", ".join(unknown[:MOST_NAMED]) + (", ..." if len(unknown) > MOST_NAMED else "")
            raise UnknownWordsError(
                "The model's lexicon does not have all words of the text.",
                value=named,
                remedy="Write numbers and abbreviations out in words, and check the spelling.",
            )
        places = {phone: place for place, phone in enumerate(self.phones, start=1)}
        try:
            ways = [
                [tuple(places[one] for one in way.split()) for way in self.entries[word].split("\n")] for word in words
            ]
        except KeyError as error:
            raise LexiconError(
                "The lexicon has a phone that the model does not have.",
                value=error.args[0],
                remedy="Build the bundle again with `matchka-export defaults`.",
            ) from error
        # twice the same, as dictionaries have it once stress is dropped, would count twice
        return [tuple(dict.fromkeys(of_word)) for of_word in ways]


def read_vocabulary(text: str) -> tuple[str, ...]:
    """The words of a vocabulary's file, one a line.

    Raises: LexiconError: a word stands there twice, or a line has more than one.
    """
    words = tuple(text.split("\n")[:-1] if text.endswith("\n") else text.split("\n"))
    if len(set(words)) != len(words) or any(words_in(word) != [word] for word in words):
        raise LexiconError(
            "A vocabulary has one word a line, in lower case, each once.",
            remedy="Build the bundle again with `matchka-export defaults`.",
        )
    return words
