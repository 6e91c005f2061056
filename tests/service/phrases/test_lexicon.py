"""Words, lexicons and vocabularies."""

import pytest

from matchka.errors import LexiconError, UnknownWordsError
from matchka.phrases.lexicon import Lexicon, read_vocabulary, words_in

LEXICON = Lexicon.parse("a AH\na EY\ndon't D OW N T\n", ("AH", "D", "EY", "N", "OW", "T"))


def test_pronunciations_of_known_words_are_all_of_them_in_the_order_of_the_lines():
    assert LEXICON.pronunciations(words_in("Don\u2019t, a!")) == [((2, 5, 4, 6),), ((1,), (3,))]


def test_pronunciations_of_unknown_words_names_each_once():
    with pytest.raises(UnknownWordsError) as refused:
        LEXICON.pronunciations(["b", "a", "c", "b"])
    assert refused.value.value == "b, c"


def test_pronunciations_of_many_unknown_words_names_five():
    with pytest.raises(UnknownWordsError) as refused:
        LEXICON.pronunciations(list("bcdefgh"))
    assert refused.value.value == "b, c, d, e, f, ..."


def test_pronunciations_that_are_repeated_count_once():
    lexicon = Lexicon.parse("a AH\na  EY\na AH \n", ("AH", "EY"))
    assert lexicon.pronunciations(["a"]) == [((1,), (2,))]


@pytest.mark.parametrize("text", ["a", "a AH\n\n", " AH", "a "])
def test_lexicon_with_a_line_without_phones_raises(text: str):
    with pytest.raises(LexiconError):
        Lexicon.parse(text, ("AH",))


def test_pronunciations_with_a_phone_of_another_model_raises():
    with pytest.raises(LexiconError, match="phone"):
        Lexicon.parse("a XX", ("AH",)).pronunciations(["a"])


def test_words_in_a_quoted_text_leaves_the_quotes_out():
    assert words_in("'He said: \u201cthe dogs' rock'n'roll\u201d'") == ["he", "said", "the", "dogs", "rock'n'roll"]


def test_read_vocabulary_of_a_file_is_its_lines():
    assert read_vocabulary("apple\nbanana\n") == ("apple", "banana")


@pytest.mark.parametrize("text", ["", "apple\napple\n", "two words\n", "Apple\n", "apple\n\nbanana\n"])
def test_read_vocabulary_with_a_line_that_is_no_word_or_repeated_raises(text: str):
    with pytest.raises(LexiconError):
        read_vocabulary(text)
