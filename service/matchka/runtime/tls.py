"""The service's TLS certificate: read, checked, and read again when its files change."""

import logging
import os
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Final, TypeAlias

from cryptography import x509

from matchka.errors import SettingsError

CHECK_EVERY_S: Final = 1.0  # the files, when a connection comes
WARN_BEFORE: Final = timedelta(days=14)
REMEDY: Final = "Name PEM files in MATCHKA_TLS_CERTIFICATE (the chain, its own certificate first) and MATCHKA_TLS_KEY."
LOGGER: Final = logging.getLogger("matchka")

_State: TypeAlias = tuple[tuple[int, int, int], ...]  # of both files: when changed, size, which file


class ServerCertificate:
    """A certificate chain and its key, in force for every connection that comes from now on. Safe to call from threads.

    Whoever renews the files writes one after the other: a pair that does not fit is not used, and the log says so; the
    one before stays in force until they fit. Connections that are open keep theirs.

    Args:
        certificate: PEM, the chain, the service's own certificate first.
        key: PEM, not encrypted.
        clock: monotonic seconds.

    Raises: SettingsError: a file is missing or cannot be read, or the key does not fit.
    """

    def __init__(self, certificate: Path, key: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._certificate = certificate
        self._key = key
        self._clock = clock
        self._lock = Lock()
        self._state = self._state_of_files()
        self._context = self._read()
        self._checked_at = clock()

    def context(self) -> ssl.SSLContext:
        """What the next connection is to use."""
        with self._lock:
            if self._clock() - self._checked_at >= CHECK_EVERY_S:
                self._checked_at = self._clock()
                self._read_again()
            return self._context

    def _read_again(self) -> None:
        try:
            state = self._state_of_files()
            if state == self._state:
                return
            self._state = state  # also of a pair that does not fit: it is said once, and looked at when it changes
            self._context = self._read()
        except SettingsError as error:
            LOGGER.error("the TLS certificate changed, and the one before stays in force: %s", error)
        else:
            LOGGER.info("the TLS certificate was read again")

    def _state_of_files(self) -> _State:
        try:
            found = [path.stat() for path in (self._certificate, self._key)]
        except OSError as error:
            raise _unreadable(error) from error
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            chain = x509.load_pem_x509_certificates(self._certificate.read_bytes())
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is the first
            raise _unreadable(error) from error
        _warn_of_expiry(chain[0], self._certificate)
        return context


def _no_password() -> str:
    """Asked for where the key is encrypted; the library would ask a terminal.

    Raises: ValueError: always.
    """
    raise ValueError("the key is encrypted with a password")


def _unreadable(error: Exception) -> SettingsError:
    if isinstance(error, ssl.SSLError):
        problem = "the key does not fit the certificate" if error.reason == "KEY_VALUES_MISMATCH" else "no PEM key"
    elif isinstance(error, OSError):
        problem = f"{error.filename}: {os.strerror(error.errno or 0)}"
    else:
        problem = str(error)
    return SettingsError("The TLS certificate cannot be used.", value=problem, remedy=REMEDY)


def _warn_of_expiry(certificate: x509.Certificate, path: Path) -> None:
    now, ends = datetime.now(UTC), certificate.not_valid_after_utc
    if ends <= now:
        LOGGER.warning("the TLS certificate %s expired on %s; clients refuse it", path, ends.date())
    elif ends <= now + WARN_BEFORE:
        LOGGER.warning("the TLS certificate %s expires on %s", path, ends.date())
    if certificate.not_valid_before_utc > now:
        LOGGER.warning("the TLS certificate %s is not valid before %s", path, certificate.not_valid_before_utc.date())
