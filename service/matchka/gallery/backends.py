"""The kinds of galleries, by the names that MATCHKA_GALLERY has for them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from types import MappingProxyType
from typing import Final, TypeAlias

from matchka.errors import SettingsError
from matchka.gallery.faiss_cpu.shared_file import SharedFile
from matchka.gallery.faiss_cpu.shared_galleries import SharedOpener
from matchka.gallery.faiss_gpu import open_gpu
from matchka.gallery.galleries import GalleryBackend, GalleryOpener
from matchka.gallery.onnx.index import open_onnx
from matchka.settings import Settings

LATER_S: Final = 5.0  # than galleries that have not followed are used
SharedFiles: TypeAlias = tuple[int, int] | None


@contextmanager
def opened_backend(settings: Settings, *, is_encrypted: bool, shared: SharedFiles = None) -> Iterator[GalleryBackend]:
    """The galleries of a service, until the end of the block.

    Args:
        settings: as of the application.
        is_encrypted: whether the store encrypts references.
        shared: files in memory for rows of galleries and their locks, of all processes of the service.

    Raises:
        SettingsError: the settings lack what the kind needs, or it keeps in clear what the store encrypts.
        MissingPackageError: its extra is not installed.
        GalleryUnavailableError: its server does not answer.
    """
    with BACKENDS[settings.gallery](settings, is_encrypted, shared) as backend:
        yield backend


@contextmanager
def _opened_faiss(settings: Settings, is_encrypted: bool, shared: SharedFiles) -> Iterator[GalleryBackend]:  # noqa: ARG001 - memory alone
    device = open_gpu(settings.gpu_half_precision) if settings.device == "gpu" else None
    if device is not None or shared is None:
        yield GalleryOpener(settings.cores, device)
        return
    with closing(SharedOpener(settings.cores, SharedFile(*shared), settings.feed.stale_s + LATER_S)) as opener:
        yield opener


@contextmanager
def _opened_onnx(settings: Settings, is_encrypted: bool, shared: SharedFiles) -> Iterator[GalleryBackend]:  # noqa: ARG001 - memory alone
    device = open_onnx(settings.device == "gpu", settings.gpu_half_precision, settings.cores)
    yield GalleryOpener(settings.cores, device)


@contextmanager
def _opened_milvus(
    settings: Settings,
    is_encrypted: bool,
    shared: SharedFiles,  # noqa: ARG001 - its server holds them
) -> Iterator[GalleryBackend]:
    from matchka.gallery.milvus.connection import MilvusAddress, MilvusConnection
    from matchka.gallery.milvus.galleries import MilvusBackend

    known = settings.milvus
    if not known.uri:
        raise SettingsError(
            "Galleries in Milvus need its address.",
            value="MATCHKA_MILVUS__URI",
            remedy="Set it to http://HOST:PORT, https://HOST:PORT or a file NAME.db; or set MATCHKA_GALLERY=faiss.",
        )
    if is_encrypted and known.plaintext != "accepted":
        raise SettingsError(
            "The store encrypts references, and Milvus would hold them in clear, beyond the reach of a destroyed key.",
            value="MATCHKA_GALLERY=milvus",
            remedy="Set MATCHKA_GALLERY=faiss; or MATCHKA_MILVUS__PLAINTEXT=accepted, if that is meant.",
        )
    address = MilvusAddress(known.uri, known.token.get_secret_value(), known.ca_file, known.timeout_s)
    with closing(MilvusConnection(address)) as connection:
        yield MilvusBackend(connection, known.prefix, known.index)


BACKENDS: Final[Mapping[str, Callable[[Settings, bool, SharedFiles], AbstractContextManager[GalleryBackend]]]] = (
    MappingProxyType({"faiss": _opened_faiss, "onnx": _opened_onnx, "milvus": _opened_milvus})
)
