"""The demonstration of what is said, with clips of tones in place of the recordings."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from matchka.cli.demo.demo_speech import SAID, demonstrate_speech
from tests.factories.bundles import edit_bundle
from tests.factories.samples import encoded
from tests.factories.small_server import SmallServer, serving, small_settings
from tests.factories.spoken_tones import LEXICON, spoken, words_of, write_phoneme_bundle

# each word of the recordings is said as one of the vocabulary
SAID_AS = dict(zip(sorted({word for text in SAID.values() for word in text.split()}), words_of(), strict=False))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallServer]:
    folder = tmp_path_factory.mktemp("demo")
    bundle = write_phoneme_bundle(folder / "models" / "phonemes")
    lines = (bundle / "lexicon.txt").read_text()
    lines += "".join(
        f"{word} {' '.join(LEXICON[other][0])}\n" for word, other in SAID_AS.items() if word not in LEXICON
    )
    (bundle / "lexicon.txt").write_text(lines)
    edit_bundle(bundle, lambda m: m["files"].update({"lexicon.txt": hashlib.sha256(lines.encode()).hexdigest()}))
    with serving(small_settings(folder)) as running:
        yield running


def write_samples(folder: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        path = folder / "voice" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(spoken([SAID_AS[word] for word in text.split()])))
    return folder


def test_demonstration_of_clips_that_say_their_texts_succeeds(server: SmallServer, tmp_path: Path):
    console = Console(record=True, width=150)
    assert demonstrate_speech(server.client(), write_samples(tmp_path, SAID), console)
    assert "4 of 4 clips say their own text rather than any of 40 others." in console.export_text()


def test_demonstration_of_a_clip_that_says_another_text_fails(server: SmallServer, tmp_path: Path):
    console = Console(record=True, width=150)
    wrong = SAID | {"librivox/0930": SAID["librivox/0880"]}
    assert not demonstrate_speech(server.client(), write_samples(tmp_path, wrong), console)
    assert "3 of 4 clips" in console.export_text()
