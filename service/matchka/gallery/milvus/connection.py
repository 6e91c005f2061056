"""The connection to Milvus: every call ends in its time, and fails as one error."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from matchka.errors import GalleryUnavailableError, MissingPackageError, extra_required
from matchka.runtime.deadline import current_deadline

if TYPE_CHECKING:
    from pymilvus import MilvusClient

READERS: Final = 32  # searches that wait for Milvus at once
MESSAGE_CHARACTERS: Final = 300
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class MilvusAddress:
    """Where Milvus is.

    Attributes:
        uri: http://HOST:PORT, https://HOST:PORT, or a file of Milvus Lite, whose name ends in .db.
        token: USER:PASSWORD, or a key.
        ca_file: PEM file of authorities, instead of the system's.
        timeout_s: longest time of a call.
    """

    uri: str
    token: str = ""
    ca_file: Path | None = None
    timeout_s: float = 5.0

    @property
    def is_file(self) -> bool:
        """Whether it is a file of Milvus Lite, which this process alone may open."""
        return self.uri.endswith(".db")


class MilvusConnection:
    """A client that is opened once; it connects again by itself.

    Args: address: of the server.

    Raises:
        MissingPackageError: the extra [milvus] is not installed.
        GalleryUnavailableError: Milvus does not answer.
    """

    def __init__(self, address: MilvusAddress) -> None:
        self._address = address
        # The library's own waits for a new connection follow each other: whoever asks waits here, and not longer.
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="milvus")
        self._refusal: GalleryUnavailableError | None = None
        with extra_required("milvus"):
            import grpc
            import pymilvus
        self._failures: tuple[type[Exception], ...] = (pymilvus.MilvusException, grpc.RpcError, grpc.FutureTimeoutError)
        # it tells of each failure at length, with what was asked for: what is known is told here
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        logging.getLogger("pymilvus.milvus_client").setLevel(logging.CRITICAL)
        if address.is_file:
            _require_lite()
        given = {"server_pem_path": str(address.ca_file)} if address.ca_file else {}
        with self._failing():
            self._client: MilvusClient = pymilvus.MilvusClient(
                address.uri, token=address.token, timeout=address.timeout_s, dedicated=True, **given
            )

    def close(self) -> None:
        """Close the connection; a file of Milvus Lite is another process's to open then."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._client.close()
        if self._address.is_file:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self._address.uri)

    @property
    def is_refusing(self) -> bool:
        """Whether Milvus was away when it was last asked for on behalf of all."""
        return self._refusal is not None

    def read(self, ask: "Callable[[MilvusClient, float], Answer]") -> Answer:
        """Ask, for a request: within the timeout and what is left until its deadline.

        Args: ask: is called with the client and how long it may take, on another thread.

        Raises: GalleryUnavailableError: there is no answer, or there was none when the follower asked last.
        """
        if self._refusal is not None:
            raise unavailable(self._refusal.value)
        remaining_s = current_deadline().remaining_s
        limit_s = self._address.timeout_s if remaining_s is None else min(self._address.timeout_s, remaining_s)
        asked = self._readers.submit(ask, self._client, limit_s)
        with self._failing():
            try:
                return asked.result(limit_s)
            except TimeoutError as error:
                asked.cancel()
                raise unavailable(f"no answer in {limit_s:g} s") from error

    def write(self, change: "Callable[[MilvusClient, float], Answer]") -> Answer:
        """Change something: on the thread that asks, so that a change that took too long is not still to come.

        Raises: GalleryUnavailableError: it was not, or it is not known whether it was.
        """
        with self._failing():
            return change(self._client, self._address.timeout_s)

    def watch(self, ask: "Callable[[MilvusClient, float], Answer]") -> Answer:
        """Ask whether Milvus is there, on behalf of all: until it is, read() refuses at once.

        Raises: GalleryUnavailableError: it is not.
        """
        try:
            found = self.write(ask)
        except GalleryUnavailableError as error:
            self._refusal = error
            raise
        self._refusal = None
        return found

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except self._failures as error:
            raise unavailable(f"{type(error).__name__}: {error}"[:MESSAGE_CHARACTERS]) from error


def _require_lite() -> None:
    if find_spec("milvus_lite") is None:
        raise MissingPackageError(
            "A file of Milvus Lite needs a package that is not installed.",
            value="milvus-lite",
            remedy="Run `pip install 'matchka[lite]'` beside [cpu], not [gpu]; or set MATCHKA_MILVUS__URI to a server.",
        )


def unavailable(value: object) -> GalleryUnavailableError:
    """The error for a Milvus that does not answer."""
    return GalleryUnavailableError(
        "The galleries' server does not answer, or refuses.",
        value=value,
        remedy="Try again after the seconds in Retry-After; verify needs no gallery. Check MATCHKA_MILVUS__URI.",
    )
