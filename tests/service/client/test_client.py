"""The client against a real server: every method, and every way an answer can fail to come."""

import http.server
import json
import socket
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr

from matchka.client import Client, calls
from matchka.errors import InvalidFieldError, RequestFailedError, ServiceUnreachableError, SettingsError
from matchka.settings import Settings
from tests.factories.bundles import DIMS, VERSION
from tests.factories.checkout import ROOT
from tests.factories.samples import sample, voice
from tests.factories.slow_embedding import cosine, embedding_of
from tests.factories.small_server import SmallServer

KEY = "0123456789abcdef"


def test_embed_of_paths_and_bytes_gives_the_slow_embeddings(small_server: SmallServer, tmp_path: Path):
    (tmp_path / "b.wav").write_bytes(sample(2))
    for dim in (None, *DIMS):
        answer = small_server.client().embed([sample(1), tmp_path / "b.wav", str(tmp_path / "b.wav")], dim=dim)
        assert (answer.model, answer.version, answer.dim) == ("voice", VERSION, dim or 8)
        for row, person in zip(answer.embeddings, (1, 2, 2), strict=True):
            prefix = embedding_of(voice(person))[:dim]
            np.testing.assert_allclose(row, prefix / np.sqrt(prefix @ prefix), atol=5e-5)


def test_enroll_verify_identify_and_delete_go_the_whole_way(small_server: SmallServer):
    client = small_server.client()
    first = client.enroll("way:1", [sample(1), sample(1, 1)])
    assert (first.subject_id, first.model, first.version, first.dim) == ("way:1", "voice", VERSION, 8)
    assert first.template_count == len(first.template_ids) == 2
    client.enroll("way:2", [sample(2)])
    reference = (embedding_of(voice(1)) + embedding_of(voice(1, 1))) / 2

    verified = client.verify("way:1", sample(3), dim=4, max_fmr=1e-2)
    assert verified.similarity == pytest.approx(cosine(reference, embedding_of(voice(3)), 4), abs=5e-5)
    assert (verified.dim, verified.max_fmr, verified.model, verified.version) == (4, 1e-2, "voice", VERSION)
    assert (verified.threshold, verified.threshold_measured) == (pytest.approx(0.85), True)

    identified = client.identify(sample(2), top_k=1, dim=2, max_fpir=0.1)
    assert [c.subject_id for c in identified.candidates] == ["way:2"]
    assert (identified.match, identified.gallery_size, identified.dim) == ("way:2", 2, 2)

    client.delete_template(first.template_ids[0])
    assert client.verify("way:1", sample(1, 1)).similarity == pytest.approx(1.0, abs=1e-6)
    assert [t.template_id for t in client.subject("way:1").templates] == [first.template_ids[1]]
    for subject in ("way:1", "way:2"):
        client.delete_subject(subject)
    assert client.subjects().subjects == []


def test_verify_without_options_uses_the_designs_defaults(small_server: SmallServer):
    answer = small_server.client().compare(sample(1), sample(1))
    assert (answer.dim, answer.max_fmr, answer.match, answer.threshold_measured) == (8, 1e-3, True, False)
    assert answer.probability == pytest.approx(1 / (1 + np.exp(-(12.0 - 9.0))), abs=1e-5)


@pytest.mark.parametrize("subject", ["ä:é", "a@b.c", "x" * 256, "..a", "中文", unicodedata.normalize("NFD", "é")])
def test_subject_ids_of_every_kind_survive_the_way_through_urls_and_forms(small_server: SmallServer, subject: str):
    client = small_server.client()
    normal = unicodedata.normalize("NFC", subject)
    assert client.enroll(subject, [sample(1)]).subject_id == normal
    found = client.subject(subject)
    assert (found.subject_id, found.template_count) == (normal, 1)
    client.delete_subject(subject)
    with pytest.raises(RequestFailedError) as refused:
        client.subject(subject)
    assert (refused.value.status, refused.value.code) == (404, "unknown_subject")


def test_subjects_page_by_page_are_all_subjects_once(small_server: SmallServer):
    client = small_server.client()
    names = [f"page:{n:02}" for n in range(7)]
    for name in names:
        client.enroll(name, [sample(1, 0, 0.6)])
    found, cursor, pages = [], None, 0
    while True:
        page = client.subjects(limit=3, cursor=cursor)
        found += [s.subject_id for s in page.subjects]
        pages += 1
        cursor = page.next_cursor
        if cursor is None:
            break
    assert (found, pages) == (names, 3)
    assert client.subjects(limit=7).next_cursor is None
    for name in names:
        client.delete_subject(name)


def test_models_are_the_bundles_with_what_was_measured(small_server: SmallServer):
    (model,) = small_server.client().models().models
    assert (model.name, model.version, model.full_dim, model.dims) == ("voice", VERSION, 8, list(DIMS))
    assert model.per_dim["4"].operating_points["3"][0].threshold == 0.55
    assert model.per_dim["4"].metrics["made-up"].eer == 0.05


def test_models_tell_the_memory_of_graphs_and_of_the_gallery(small_server: SmallServer):
    client, graph = small_server.client(), small_server.settings.models_dir / "voice" / "model.onnx"
    (before,) = client.models().models
    # a second copy runs lone requests on all cores, where there are several
    copies = 2 if small_server.settings.cores > 1 else 1
    assert before.graph_bytes == copies * graph.stat().st_size
    client.enroll("heavy", [sample(1)])
    (after,) = client.models().models
    assert after.graph_bytes == before.graph_bytes
    assert after.gallery_bytes - before.gallery_bytes >= 8 * 4  # eight components
    client.delete_subject("heavy")
    (again,) = client.models().models
    assert again.gallery_bytes == before.gallery_bytes


def test_models_of_a_service_that_tells_neither_outputs_nor_memory_are_read():
    recorded = json.loads((ROOT / "tests/end_to_end/interface_v1/voice.json").read_text())["models"]["body"]
    assert "outputs" not in recorded["models"][0]
    (model,) = calls.models().read(json.dumps(recorded).encode()).models
    assert (model.name, model.dims, model.outputs) == ("voice", [2, 4, 8], {})
    assert (model.graph_bytes, model.gallery_bytes) == (0, 0)


def test_refusal_is_raised_with_its_code_value_and_remedy(small_server: SmallServer):
    with pytest.raises(RequestFailedError) as refused:
        small_server.client().embed([sample(1)], dim=3)
    assert (refused.value.status, refused.value.code, refused.value.value) == (422, "untrained_dim", "3")
    assert "2, 4, 8" in refused.value.remedy


def test_file_that_cannot_be_read_is_refused_before_anything_is_sent(tmp_path: Path):
    with pytest.raises(InvalidFieldError, match="cannot be read") as refused:
        Client("http://127.0.0.1:1").embed([tmp_path / "missing.wav"])
    assert "missing.wav" in str(refused.value)


@pytest.mark.parametrize("numbers", [{"a": 1, "b": 2.5}, {"a": np.float32(1), "b": np.float64(2.5)}])
def test_sample_of_named_numbers_is_sent_as_a_file_of_json(numbers: dict[str, float]):
    ((field, (_, data)),) = calls.verify("ada", numbers, model="own").files
    assert (field, json.loads(data)) == ("file", {"a": 1.0, "b": 2.5})


def test_sample_of_named_numbers_is_judged_by_the_model_it_is_sent_to(small_server: SmallServer):
    with pytest.raises(RequestFailedError) as refused:
        small_server.client().embed([sample(1), {"a": 1.0}])
    assert (refused.value.status, refused.value.code) == (422, "not_audio")


@pytest.mark.parametrize("numbers", [{"a": [object()]}, {("a", "b"): 1.0}, {"a": np.zeros(2)}])
def test_sample_that_json_cannot_write_is_refused_before_anything_is_sent(numbers: dict[str, float]):
    with pytest.raises(InvalidFieldError, match="cannot be written"):
        Client("http://127.0.0.1:1").embed([numbers])


def test_service_that_is_not_there_is_unreachable():
    for call in (
        lambda: Client("http://127.0.0.1:1").models(),
        lambda: Client("http://127.0.0.1:1").wait_until_ready(0),
    ):
        with pytest.raises(ServiceUnreachableError) as failed:
            call()
        assert failed.value.value == "http://127.0.0.1:1"
        assert "matchka serve" in failed.value.remedy


def test_client_without_arguments_takes_url_and_key_from_the_environment(
    start_small_server: Callable[[Settings], SmallServer], settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    server = start_small_server(settings.model_copy(update={"api_key": SecretStr(KEY)}))
    monkeypatch.setenv("MATCHKA_URL", server.url)
    with pytest.raises(RequestFailedError) as refused:
        Client().models()
    assert refused.value.code == "unauthorized"
    assert "MATCHKA_API_KEY" in refused.value.remedy
    assert len(Client(api_key=KEY).models().models) == 1
    monkeypatch.setenv("MATCHKA_API_KEY", KEY)
    assert len(Client().models().models) == 1
    monkeypatch.setenv("MATCHKA_URL", "http://127.0.0.1:1")
    assert len(Client(server.url).models().models) == 1
    with pytest.raises(ServiceUnreachableError) as failed:
        Client().models()
    assert failed.value.value == "http://127.0.0.1:1"
    with pytest.raises(RequestFailedError, match="needs an API key"):
        Client(server.url, api_key="").models()


def test_client_where_the_environment_names_a_file_of_the_key_reads_it(
    start_small_server: Callable[[Settings], SmallServer],
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    server = start_small_server(settings.model_copy(update={"api_key": SecretStr(KEY)}))
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    monkeypatch.setenv("MATCHKA_API_KEY", "")
    monkeypatch.setenv("MATCHKA_API_KEY_FILE", str(file))
    assert len(Client(server.url).models().models) == 1
    monkeypatch.setenv("MATCHKA_API_KEY", "another-key-of-16-characters")
    with pytest.raises(RequestFailedError, match="key"):
        Client(server.url).models()


def test_client_whose_file_of_the_key_cannot_be_read_is_refused_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MATCHKA_API_KEY", raising=False)
    monkeypatch.setenv("MATCHKA_API_KEY_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="cannot be read") as refused:
        Client()
    assert refused.value.value == str(tmp_path / "none")


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "localhost:8000", "http://", "http://a:99999", "ftp://a", "//a"])
def test_url_that_is_no_address_of_a_service_is_refused_with_an_example(url: str):
    with pytest.raises(SettingsError, match="no address") as refused:
        Client(url)
    assert refused.value.value == url
    assert "http://127.0.0.1:8000" in refused.value.remedy


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "\u043a\u043b\u044e\u0447"])
def test_key_that_no_header_can_carry_is_refused_and_not_shown(key: str):
    with pytest.raises(SettingsError, match="printable ASCII") as refused:
        Client("http://127.0.0.1:1", key)
    assert key not in str(refused.value)


def test_url_of_a_path_within_the_service_is_said_to_need_the_root(small_server: SmallServer):
    with pytest.raises(RequestFailedError) as refused:
        Client(f"{small_server.url}/v1").models()
    assert (refused.value.code, "without /v1" in refused.value.remedy) == ("unknown_path", True)


def test_service_that_speaks_no_tls_is_told_apart_from_none(small_server: SmallServer):
    with pytest.raises(ServiceUnreachableError, match="http:// needs none"):
        Client(small_server.url.replace("http://", "https://")).models()


def test_service_that_takes_too_long_is_told_apart_from_none():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(ServiceUnreachableError, match=r"within 0\.1 s"):
            Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.1).models()


@pytest.fixture(params=[(200, b"<html>hello</html>"), (200, b"[]"), (404, b"<html>gone</html>"), (502, b"")])
def stranger(request: pytest.FixtureRequest) -> Iterator[str]:
    """A web server that is none of ours."""
    status, body = request.param

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_answer_of_another_program_is_not_taken_for_ours(stranger: str):
    with pytest.raises(ServiceUnreachableError, match="not a matchka service"):
        Client(stranger).models()


@pytest.mark.parametrize(
    ("key", "key_id"), [("mk_0123456789ab_" + "0f" * 32, "0123456789ab"), ("mk_own", None), ("", None)]
)
def test_id_is_known_of_a_key_that_the_service_made(key: str, key_id: str | None):
    with Client("http://127.0.0.1:1", key) as client:
        assert client.key_id == key_id
