"""What the starvation report says, and that its attacks are what they claim to be."""

import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from loadtests.client.load import Attempt, Call, Outcome
from loadtests.torture import starvation
from matchka.modalities.audio.cost import stated_s
from matchka.modalities.face.cost import stated_size


def outcome(latency_s: float, count: int, refused: int = 0) -> Outcome:
    answered = [Attempt(Call(b""), 0.0, 0.0, latency_s, 200) for _ in range(count)]
    return Outcome(answered + [Attempt(Call(b""), 0.0, 0.0, 0.01, 503) for _ in range(refused)])


@pytest.mark.parametrize(
    ("beside", "broken"),
    [
        (outcome(0.39, 99, 1), []),
        (outcome(0.39, 98, 2), ["an attack: 98.0% of honest requests were answered"]),
        (outcome(0.41, 100), ["an attack: honest requests took 4.1 times as long"]),
        (outcome(0.1, 0, 100), ["an attack: 0.0% of honest", "an attack: honest requests took inf times"]),
    ],
)
def test_broken_says_which_bound_was_passed(beside: Outcome, broken: list[str]):
    found = starvation._broken(starvation._row("an attack", outcome(0.1, 100), beside))
    assert len(found) == len(broken)
    assert all(problem.startswith(beginning) for problem, beginning in zip(found, broken, strict=True))


def test_attacks_are_as_large_as_their_names_say(tmp_path):
    face, folder = io.BytesIO(), tmp_path / "voice" / "librivox"
    Image.new("RGB", (200, 200), "white").save(face, "PNG")
    assert stated_size(starvation._large_picture(face.getvalue())) == (6000, 4000)
    folder.mkdir(parents=True)
    soundfile.write(folder / "a.wav", np.random.default_rng(1).normal(0, 0.1, 16_000), 16_000)
    assert stated_s(starvation._long_clip(tmp_path)) == pytest.approx(60, rel=0.01)
    names = [attack.name for attack in starvation._attacks(tmp_path, face.getvalue())]
    assert [name.split()[0] for name in names] == ["130", "16", "16", "8"]
    assert starvation._embed_request("voice", b"clip").count(b'name="file"') == 32
