"""The command line against a real server: output, --json and exit codes."""

import json
import re
import socket
from pathlib import Path

import pytest

from matchka.cli.output.errors import FAILED
from matchka.cli.output.report import NO_MATCH
from tests.factories.command_line import run
from tests.factories.samples import sample, voice
from tests.factories.slow_embedding import cosine, embedding_of
from tests.factories.small_server import SmallServer


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for person in (1, 2):
        for take in (0, 1):
            (tmp_path / f"{person}-{take}.wav").write_bytes(sample(person, take))
    return tmp_path


def test_enroll_then_verify_then_delete_says_what_happened(small_server: SmallServer, clips: Path):
    done = run(small_server, "enroll", "cli:1", clips / "1-0.wav", clips / "1-1.wav")
    assert done.exit_code == 0, done.output
    assert "enrolled cli:1: 2 new, 2 voice templates in all" in done.output
    again = run(small_server, "enroll", "cli:again", clips / "1-0.wav", clips / "1-1.wav")
    assert "may be the same person as cli:1 (1.000)" in again.output

    found = run(small_server, "verify", "cli:1", clips / "1-0.wav", "--json")
    reference = embedding_of(voice(1)) + embedding_of(voice(1, 1))
    assert json.loads(found.stdout)["similarity"] == pytest.approx(cosine(reference, embedding_of(voice(1))), abs=5e-5)
    shown = run(small_server, "subjects", "show", "cli:1", "--json")
    first, second = (template["template_id"] for template in json.loads(shown.stdout)["templates"])
    assert first in run(small_server, "subjects", "show", "cli:1").output
    assert run(small_server, "subjects", "delete-template", first).exit_code == 0
    assert first not in run(small_server, "subjects", "show", "cli:1").output
    assert second in run(small_server, "subjects", "show", "cli:1").output
    assert re.search(r"cli:1\s+│\s+1\s", run(small_server, "subjects", "list").output)
    for subject in ("cli:1", "cli:again"):
        assert run(small_server, "subjects", "delete", subject).exit_code == 0
    assert json.loads(run(small_server, "subjects", "list", "--json").stdout)["subjects"] == []


def test_compare_exits_0_for_a_match_and_1_for_none(small_server: SmallServer, clips: Path):
    same = run(small_server, "compare", clips / "1-0.wav", clips / "1-0.wav")
    assert same.exit_code == 0
    assert re.search(r"yes\s+│\s+1\.000\s+│\s+0\.970 \(extrapolated\)", same.output), same.output
    different = run(small_server, "compare", clips / "1-0.wav", clips / "2-0.wav", "--dim", 4, "--json")
    answer = json.loads(different.stdout)
    expected = cosine(embedding_of(voice(1)), embedding_of(voice(2)), 4)
    assert answer["similarity"] == pytest.approx(expected, abs=5e-5)
    assert different.exit_code == (0 if expected >= 0.97 else NO_MATCH)


def test_identify_exits_0_with_the_name_and_1_for_an_impostor(small_server: SmallServer, clips: Path):
    empty = run(small_server, "identify", clips / "1-0.wav")
    assert empty.exit_code == NO_MATCH
    assert "match: unknown" in empty.output
    run(small_server, "enroll", "cli:id", clips / "1-0.wav")
    found = run(small_server, "identify", clips / "1-0.wav", "--max-fpir", 0.05)
    assert found.exit_code == 0
    assert "match: cli:id" in found.output
    assert "1 subjects" in found.output
    run(small_server, "subjects", "delete", "cli:id")


def test_embed_shows_each_files_embedding(small_server: SmallServer, clips: Path):
    done = run(small_server, "embed", clips / "1-0.wav", clips / "2-0.wav", "--dim", 2, "--json")
    for row, person in zip(json.loads(done.stdout)["embeddings"], (1, 2), strict=True):
        assert cosine(row, embedding_of(voice(person)), 2) == pytest.approx(1.0, abs=1e-6)
    shown = run(small_server, "embed", clips / "1-0.wav")
    assert f"{embedding_of(voice(1))[0]:+.3f}"[:-1] in shown.output


MIXED = ("1-0.wav", "2-0.jpg")


@pytest.mark.parametrize("files", [MIXED, MIXED[::-1]])
@pytest.mark.parametrize("command", [("enroll", "cli:mixed"), ("compare",), ("embed",)], ids=lambda words: words[0])
def test_files_of_several_kinds_are_refused_unless_a_model_is_named(
    small_server: SmallServer, clips: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], files: list[str]
):
    monkeypatch.chdir(clips)
    (clips / "2-0.jpg").write_bytes(sample(2))
    refused = run(small_server, *command, *files)
    assert refused.exit_code == FAILED
    assert "of several kinds" in refused.stderr
    assert "--model" in refused.stderr
    assert all(file in refused.stderr for file in files)
    named = run(small_server, *command, *files, "--model", "voice", *(["--force"] if command[0] == "enroll" else []))
    assert named.exit_code != FAILED, named.output
    run(small_server, "subjects", "delete", "cli:mixed")


def test_models_shows_the_accuracy_at_each_dim(small_server: SmallServer):
    done = run(small_server, "models")
    assert re.search(r"4\s+│ made-up\s+│ 5\.00\s+│ 5\.00\s+│ 0\.970 \(extrapolated\)", done.output), done.output
    (model,) = json.loads(run(small_server, "models", "--json").stdout)["models"]
    assert model["dims"] == [2, 4, 8]
    assert f"graphs {model['graph_bytes'] / 1e6:.1f} MB, gallery {model['gallery_bytes'] / 1e6:.1f} MB" in done.output


def test_wait_exits_0_when_ready_and_2_when_nobody_answers(small_server: SmallServer):
    assert run(small_server, "wait", "--timeout", 5).exit_code == 0
    failed = run(small_server, "wait", "--timeout", 0, "--url", "http://127.0.0.1:1")
    assert failed.exit_code == FAILED
    assert "not ready after 0 s" in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify", "nobody", "1-0.wav"], "no such subject"),
        (["embed", "1-0.wav", "--dim", "3"], "2, 4, 8"),
        (["embed", "missing.wav"], "cannot be read"),
        (["enroll", "a b", "1-0.wav"], "subject_id must be"),
        (["embed", "1-0.wav", "--model", "[bold]face"], "[bold]face"),
        (["subjects", "delete", "nobody"], "no such subject"),
    ],
)
def test_command_that_is_refused_exits_2_with_one_clear_line(
    small_server: SmallServer, clips: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
):
    monkeypatch.chdir(clips)
    done = run(small_server, *arguments)
    assert done.exit_code == FAILED
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.output


def test_command_with_an_unknown_variable_exits_2_and_names_it(small_server: SmallServer):
    done = run(small_server, "models", MATCHKA_PROT="1")
    assert done.exit_code == FAILED
    assert "MATCHKA_PROT" in done.stderr


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"MATCHKA_HOST": "0.0.0.0"}, "needs an API key"),
        ({"MATCHKA_API_KEY": "short"}, "at least 16"),
        ({"MATCHKA_PORT": "0"}, "MATCHKA_PORT"),
        ({"MATCHKA_MODELS_DIR": "nowhere"}, "no bundle in nowhere"),
    ],
)
def test_serve_that_cannot_start_exits_2_with_the_reason(
    small_server: SmallServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
):
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    arguments = [] if "MATCHKA_PORT" in variables else ["--port", port]
    done = run(small_server, "serve", *arguments, MATCHKA_PROCESSES="1", **variables)
    assert done.exit_code == FAILED
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_serve_on_a_port_in_use_exits_2_at_once(
    small_server: SmallServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    done = run(small_server, "serve", "--port", small_server.url.rsplit(":", 1)[1])
    assert done.exit_code == FAILED
    assert "cannot listen there" in done.stderr
