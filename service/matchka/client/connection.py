"""Where the service is and how it is asked: address, key, proxies and time limits, for every client."""

import os
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx2

from matchka.errors import SettingsError

DEFAULT_URL: Final = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_S: Final = 120.0  # 32 clips of a minute on two busy cores
MADE_KEY: Final = re.compile(r"mk_([0-9a-f]+)_[0-9a-f]+")  # as the service makes them, with an id that may be shown
LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "::1")

HttpT = TypeVar("HttpT", httpx2.Client, httpx2.AsyncClient)


@dataclass(frozen=True)
class Connection:
    """A checked address and key.

    Attributes:
        url: without its last slash.
        api_key: sent with every call.
        timeout_s: longest wait for one answer.
        ca_file: of the authorities that are trusted, instead of the system's.
    """

    url: str
    api_key: str | None = field(repr=False)
    timeout_s: float
    ca_file: str | None = None

    @property
    def key_id(self) -> str | None:
        """The id in a key that the service made; None of the one that it was started with, and where there is none."""
        made = MADE_KEY.fullmatch(self.api_key or "")
        return made[1] if made else None

    def open(self, kind: Callable[..., HttpT]) -> HttpT:
        """An HTTP client of the library, which connects when it is first used. It repeats no request by itself.

        Raises: SettingsError: the environment names a proxy or a file of authorities that cannot be used.
        """
        parts = urlsplit(self.url)
        # to load the trusted authorities takes 40 ms, and plain HTTP needs none
        trusted = self._authorities() if parts.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            return kind(
                base_url=self.url,
                auth=self._with_key if self.api_key else None,  # comes before a name and password in the address
                timeout=self.timeout_s,
                trust_env=parts.hostname not in LOOPBACK_HOSTS,  # an internet proxy must not be asked for this machine
                verify=trusted,
            )
        except (ImportError, ValueError, httpx2.InvalidURL) as error:
            raise SettingsError(
                "The environment names a proxy that cannot be used.",
                remedy="Correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or name the service's host in NO_PROXY.",
            ) from error

    def _authorities(self) -> ssl.SSLContext | bool:
        if self.ca_file is None:
            return True
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise SettingsError(
                "The file of trusted authorities cannot be read.",
                value=self.ca_file,
                remedy="Name a PEM file in MATCHKA_CA_FILE, or in Client(ca_file=…).",
            ) from error

    def _with_key(self, request: httpx2.Request) -> httpx2.Request:
        request.headers["Authorization"] = f"Bearer {self.api_key}"
        return request


def connection_to(
    url: str | None, api_key: str | None, timeout_s: float, ca_file: str | os.PathLike[str] | None = None
) -> Connection:
    """The connection that was asked for; what is None comes from the environment.

    The variables: MATCHKA_URL; MATCHKA_API_KEY, or else the file that MATCHKA_API_KEY_FILE names; MATCHKA_CA_FILE.

    Raises: SettingsError: no http(s) address, a key that no header can carry, or a file of one that cannot be read.
    """
    if url is None:
        url = os.environ.get("MATCHKA_URL", DEFAULT_URL)
    if api_key is None:
        api_key = _key_of_environment()
    trusted = os.environ.get("MATCHKA_CA_FILE") if ca_file is None else os.fspath(ca_file)
    return Connection(_checked_url(url), _checked_key(api_key) if api_key else None, timeout_s, trusted or None)


def _key_of_environment() -> str:
    """The key that the environment holds, or names the file of; empty where there is none."""
    key, file = (os.environ.get(name, "").strip() for name in ("MATCHKA_API_KEY", "MATCHKA_API_KEY_FILE"))
    if key or not file:
        return key
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            "The file of the API key cannot be read.",
            value=file,
            remedy="Name a text file that holds the key in MATCHKA_API_KEY_FILE, or set MATCHKA_API_KEY.",
        ) from error


def _checked_url(url: str) -> str:
    """The address without its last slash.

    >>> _checked_url("http://127.0.0.1:8000/")
    'http://127.0.0.1:8000'
    """
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        httpx2.URL(url)
    except (ValueError, httpx2.InvalidURL):  # such as a port that is no number, or above 65535
        is_address = False
    if not is_address:
        raise SettingsError(
            "This is no address of a service.",
            value=url,
            remedy="Write MATCHKA_URL (--url) as http://HOST:PORT, for example http://127.0.0.1:8000.",
        )
    return url.rstrip("/")


def _checked_key(api_key: str) -> str:
    if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
        raise SettingsError(
            "An API key holds printable ASCII characters without spaces only.",
            remedy="Copy the service's key into MATCHKA_API_KEY once more.",
        )
    return api_key
