"""The words of a bundle that hears phones: files that do not fit it are refused when it is opened."""

from pathlib import Path

import pytest

from matchka.bundles.bundle import read_bundle, read_manifest
from matchka.bundles.phrase_words import open_phrase_words
from matchka.errors import BundleError
from tests.factories.bundles import write_bundle
from tests.factories.spoken_tones import LEXICON, PHONES, words_of, write_phoneme_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_phoneme_bundle(tmp_path / "phonemes")


def test_open_phrase_words_returns_the_lexicon_and_the_vocabulary(folder: Path):
    words = open_phrase_words(folder, read_bundle(folder).manifest)
    assert words is not None
    assert words.vocabulary == tuple(words_of())
    (either,) = words.lexicon.pronunciations(["either"])
    assert [tuple(PHONES[place - 1] for place in way) for way in either] == LEXICON["either"]


def test_open_phrase_words_of_a_bundle_without_phonemes_is_none(tmp_path: Path):
    folder = write_bundle(tmp_path / "voice")
    assert open_phrase_words(folder, read_manifest(folder)) is None


WRONG = {
    "a word that the lexicon lacks": ("vocabulary.txt", "zebra\n"),
    "few words": ("vocabulary.txt", "baabiy\ndaadiy\n"),
    "no words": ("vocabulary.txt", ""),
    "no text": ("vocabulary.txt", b"\xff\xfe"),
    "words without phones": ("lexicon.txt", "baabiy\n"),
    "phones of another model": ("lexicon.txt", "".join(f"{word} ZH\n" for word in words_of())),
}


@pytest.mark.parametrize("what", WRONG)
def test_open_phrase_words_of_files_that_do_not_fit_is_refused(folder: Path, what: str):
    name, text = WRONG[what]
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BundleError, match=r"The words of|The vocabulary of"):
        open_phrase_words(folder, read_manifest(folder))


@pytest.mark.parametrize("name", ["lexicon.txt", "vocabulary.txt"])
def test_open_phrase_words_without_a_file_is_refused(folder: Path, name: str):
    manifest = read_manifest(folder)
    (folder / name).unlink()
    with pytest.raises(BundleError, match="The words of"):
        open_phrase_words(folder, manifest)
