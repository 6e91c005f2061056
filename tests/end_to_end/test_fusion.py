"""Voice and face together over real HTTP: both have to pass, and so has the sum of two calibrated ratios."""

import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from matchka.cli.demo.demo_subjects import DemoSubjects
from matchka.cli.demo.joint_demo import demonstrate_jointly
from matchka.cli.main import app
from matchka.errors import InvalidFieldError, RequestFailedError
from tests.factories.server_process import RunningServer


@pytest.fixture(scope="module")
def enrolled(server: RunningServer, voice_samples: Path, face_samples: Path) -> Iterator[str]:
    client = server.client()
    client.enroll("fused", sorted((voice_samples / "librivox").glob("*.wav"))[:3], "voice")
    client.enroll("fused", sorted((face_samples / "obama").glob("*.jpg"))[:2], "face")
    yield "fused"
    client.delete_subject("fused")


@pytest.mark.parametrize(
    ("clip", "picture", "match"),
    [
        ("librivox/0920.wav", "obama/obama3.jpg", True),
        ("cards/005.wav", "biden/biden.jpg", False),
    ],
)
def test_verify_on_both_equals_the_weighted_sum_of_the_parts(
    server: RunningServer,
    models_dir: Path,
    voice_samples: Path,
    face_samples: Path,
    enrolled: str,
    clip: str,
    picture: str,
    match: bool,
) -> None:
    client = server.client()
    answer = client.verify_jointly(enrolled, voice_samples / clip, face_samples / picture)
    fusion = json.loads((models_dir / "voice+face" / "fusion.json").read_text())
    fused = fusion["offset"]
    templates = {"voice": "3", "face": "2"}
    for model in (model for model in client.models().models if model.name in templates):
        part = answer.parts[model.name]
        assert part.probability is not None
        calibration = model.per_dim[str(model.full_dim)].calibration[templates[model.name]]
        ratio = calibration.scale * part.similarity + calibration.offset
        assert part.probability == pytest.approx(1 / (1 + math.exp(-ratio)), abs=1e-6)
        fused += fusion["weights"][model.name] * ratio
    assert answer.probability == pytest.approx(1 / (1 + math.exp(-fused)), abs=1e-6)
    assert answer.match is match
    each = all(part.similarity >= part.threshold for part in answer.parts.values())
    assert answer.match == (answer.similarity >= answer.threshold and each)


def run(server: RunningServer, *arguments: object) -> Result:
    environment = {"MATCHKA_URL": server.url, "COLUMNS": "200", "TERM": "dumb"}
    return CliRunner(env=environment).invoke(app, [str(argument) for argument in arguments])


def test_enroll_of_a_face_beside_voices_counts_the_templates_of_each_model(
    server: RunningServer, voice_samples: Path, face_samples: Path
) -> None:
    clips = sorted((voice_samples / "cards").glob("*.wav"))
    said = [
        run(server, "enroll", "counted", *files).stdout.splitlines()[0]
        for files in (clips[:2], [face_samples / "obama" / "obama.jpg"], clips[2:3])
    ]
    server.client().delete_subject("counted")
    assert said == [
        "enrolled counted: 2 new, 2 voice templates in all",
        "enrolled counted: 1 new, 1 face template in all",
        "enrolled counted: 1 new, 3 voice templates in all",
    ]


def test_verify_on_both_shows_what_each_decides_and_neither_dim_nor_similarity_of_the_whole(
    server: RunningServer, voice_samples: Path, face_samples: Path, enrolled: str
) -> None:
    clip, picture = voice_samples / "librivox" / "0920.wav", face_samples / "obama" / "obama3.jpg"
    answer = server.client().verify_jointly(enrolled, clip, picture)
    said = run(server, "verify", enrolled, clip, "--with-face", picture).stdout
    assert "together: match" in said
    assert "together: probability over 0.9999, at least" in said
    rows = [re.split(r"\s*[│|]\s*", line.strip(" │|")) for line in said.splitlines() if "yes" in line]
    assert [(row[0], row[2], row[-1]) for row in rows] == [
        (name, f"{part.similarity:.3f}", str(part.dim)) for name, part in answer.parts.items()
    ]
    assert "1.000" not in said


def test_verify_on_both_without_one_of_the_files_is_refused(
    server: RunningServer, voice_samples: Path, enrolled: str
) -> None:
    clip = (voice_samples / "cards" / "001.wav").read_bytes()
    answer = requests.post(
        f"{server.url}/v1/verify",
        data={"model": "voice+face", "subject_id": enrolled},
        files={"voice_file": ("a", clip)},
        timeout=60,
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "missing_field")


def test_verify_on_both_of_a_subject_without_a_face_is_refused(
    server: RunningServer, voice_samples: Path, face_samples: Path
) -> None:
    client = server.client()
    clip = voice_samples / "cards" / "005.wav"
    client.enroll("voice-only", [clip], "voice")
    with pytest.raises(RequestFailedError) as refused:
        client.verify_jointly("voice-only", clip, face_samples / "biden" / "biden.jpg")
    assert (refused.value.status, refused.value.code) == (404, "not_enrolled")
    client.delete_subject("voice-only")


@pytest.mark.parametrize(
    ("clip", "picture", "failed"),
    [("cards/001.wav", "obama/obama3.jpg", {"voice"}), ("librivox/0920.wav", "biden/biden.jpg", {"face"})],
)
def test_verify_on_both_with_one_wrong_part_is_refused_and_says_which(
    server: RunningServer,
    voice_samples: Path,
    face_samples: Path,
    enrolled: str,
    clip: str,
    picture: str,
    failed: set[str],
) -> None:
    probes = voice_samples / clip, face_samples / picture
    answer = server.client().verify_jointly(enrolled, *probes)
    assert not answer.match
    assert {name for name, part in answer.parts.items() if not part.match} == failed
    assert (answer.require, answer.max_fmr_each) == ("both", 1e-2)


def test_verify_on_their_sum_lets_the_right_face_make_up_for_the_wrong_voice(
    server: RunningServer, voice_samples: Path, face_samples: Path, enrolled: str
) -> None:
    probes = voice_samples / "cards" / "001.wav", face_samples / "obama" / "obama3.jpg"
    answer = server.client().verify_jointly(enrolled, *probes, require="sum")
    assert answer.match
    assert not answer.parts["voice"].match


@pytest.mark.usefixtures("enrolled")
def test_demonstration_of_both_shows_what_the_sum_lets_pass_and_leaves_nobody_behind(
    server: RunningServer, voice_samples: Path
) -> None:
    client = server.client()
    before = [subject.subject_id for subject in client.subjects().subjects]
    console = Console(record=True, width=120, file=io.StringIO())
    subjects = DemoSubjects(client, console)
    demonstrate_jointly(client, subjects, voice_samples.parent, console)
    subjects.delete_all()
    rows = re.findall(
        r"│ (own person|wrong voice|wrong face|both wrong) +│ (\w+).*?│ (\w+).*?│ (\w+) +│ (\w+) +│",
        console.export_text(),
    )
    assert rows[:2] == [("own person", "yes", "yes", "yes", "yes"), ("wrong voice", "no", "yes", "no", "yes")]
    assert [row[3] for row in rows[2:]] == ["no", "no"]
    assert [subject.subject_id for subject in client.subjects().subjects] == before


def test_demonstration_of_both_without_its_samples_says_where_they_come_from(
    server: RunningServer, tmp_path: Path
) -> None:
    console = Console(file=io.StringIO())
    with pytest.raises(InvalidFieldError, match="samples are not there") as refused:
        demonstrate_jointly(server.client(), DemoSubjects(server.client(), console), tmp_path, console)
    assert "matchka-export samples" in refused.value.remedy
