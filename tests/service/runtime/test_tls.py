"""The server's certificate: what is refused, what is warned of, and when it is read again."""

import logging
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509

from matchka.errors import SettingsError
from matchka.runtime.tls import CHECK_EVERY_S, ServerCertificate
from matchka.settings import read_settings
from tests.factories.certificates import Pair, made


def serial_shown(context: ssl.SSLContext) -> int:
    """Of the certificate that a client gets to see."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname, client_context.verify_mode = False, ssl.CERT_NONE
    here, there = socket.socketpair()
    with here, there:
        serving = threading.Thread(target=lambda: context.wrap_socket(there, server_side=True).close())
        serving.start()
        with client_context.wrap_socket(here) as client:
            shown = client.getpeercert(binary_form=True)
        serving.join()
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


def test_context_shows_the_certificate_and_takes_no_tls_before_1_2(tmp_path: Path):
    pair = made()
    context = ServerCertificate(*pair.write(tmp_path)).context()
    assert serial_shown(context) == pair.serial
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_context_after_both_files_changed_shows_the_new_certificate(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    now = [0.0]
    first, second = made(), made()
    certificate = ServerCertificate(*first.write(tmp_path), clock=lambda: now[0])
    before = certificate.context()
    second.write(tmp_path)
    assert certificate.context() is before  # nothing is looked at more than once a second
    now[0] += CHECK_EVERY_S
    with caplog.at_level(logging.INFO):
        assert serial_shown(certificate.context()) == second.serial
    assert "was read again" in caplog.text
    assert serial_shown(before) == first.serial
    now[0] += CHECK_EVERY_S
    assert certificate.context() is certificate.context()


@pytest.mark.parametrize("half", ["the new certificate and the old key", "nonsense", "nothing"])
def test_context_after_half_a_change_is_the_one_before_until_the_rest_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, half: str
):
    now = [0.0]
    first, second = made(), made()
    path, key = first.write(tmp_path)
    certificate = ServerCertificate(path, key, clock=lambda: now[0])
    if half == "nothing":
        path.unlink()
    else:
        path.write_bytes(second.certificate if half.startswith("the new") else b"nonsense")
    for _ in range(3):
        now[0] += CHECK_EVERY_S
        assert serial_shown(certificate.context()) == first.serial
    assert "the one before stays in force" in caplog.text
    second.write(tmp_path)
    now[0] += CHECK_EVERY_S
    assert serial_shown(certificate.context()) == second.serial


def test_certificate_that_cannot_be_used_is_refused_with_what_is_wrong(tmp_path: Path):
    pair, other = made(), made(password=b"secret")
    path, key = pair.write(tmp_path)
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    empty.write_bytes(b"")
    encrypted, stranger = tmp_path / "encrypted.key", tmp_path / "stranger.key"
    encrypted.write_bytes(other.key)
    stranger.write_bytes(made().key)
    for files, problem in (
        ((missing, key), f"{missing}: No such file or directory"),
        ((path, missing), f"{missing}: No such file or directory"),
        ((path, stranger), "the key does not fit the certificate"),
        ((path, encrypted), "encrypted with a password"),
        ((path, empty), "no PEM key"),
        ((path, path), "no PEM key"),
        ((empty, key), "PEM"),
        ((key, key), "PEM"),
    ):
        with pytest.raises(SettingsError, match="cannot be used") as refused:
            ServerCertificate(*files)
        assert problem in str(refused.value.value)
        assert "MATCHKA_TLS_KEY" in refused.value.remedy


@pytest.mark.parametrize(("days", "said"), [(-1, "expired on"), (5, "expires on"), (90, ""), (400, "not valid before")])
def test_certificate_that_is_not_valid_for_long_is_served_and_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, days: float, said: str
):
    pair: Pair = made(days)
    assert serial_shown(ServerCertificate(*pair.write(tmp_path)).context()) == pair.serial
    assert said in caplog.text
    assert len(caplog.records) == (said != "")


@pytest.mark.parametrize("given", [{"tls_certificate": "a"}, {"tls_key": "a"}])
def test_settings_with_half_a_certificate_are_refused(given: dict[str, str]):
    with pytest.raises(SettingsError, match="needs its key"):
        read_settings({}, **given).require_whole_certificate()
    read_settings({}, tls_certificate="a", tls_key="b").require_whole_certificate()
    read_settings({"MATCHKA_TLS_KEY": "", "MATCHKA_TLS_CERTIFICATE": ""}).require_whole_certificate()
