"""What the store asks of a vault; the one of a store in clear, and the one that cannot be opened."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from sqlalchemy import Engine

from matchka.errors import MatchkaError, VaultLockedError
from matchka.store.sqlite.wal import ERASE_WAIT_S
from matchka.store.vault.sealed import key_ids_of
from matchka.store.vault.unsealing import Unsealing

if TYPE_CHECKING:
    from matchka.store.vault.open_vault import OpenVault


@dataclass(frozen=True)
class Plain:
    """An embedding to be sealed: the id of its subject's key, what it is bound to, and its bytes."""

    key_id: bytes | None
    binding: bytes
    embedding: bytes


class Opener(Protocol):
    """Opens embeddings of which the keys have been read."""

    @property
    def is_incomplete(self) -> bool:
        """Whether the key of any was destroyed."""
        ...

    def lacks(self, stored: bytes) -> bool:
        """Whether the key of stored bytes was destroyed."""
        ...

    def begin(self, stored: Sequence[bytes], bindings: Sequence[bytes]) -> Callable[[], Sequence[bytes]]:
        """Begin to open embeddings. Returns: what waits for them; together they raise what open() raises."""
        ...

    def open(self, stored: Sequence[bytes], bindings: Sequence[bytes]) -> Sequence[bytes]:
        """Embeddings in clear.

        Raises:
            KeyDestroyedError: the key of one is gone.
            StorageDamagedError: one was changed, or is of another row, or is in clear where nothing may be.
        """
        ...


class Vault(Protocol):
    """What the store asks of a vault."""

    @property
    def is_sealing(self) -> bool:
        """Whether embeddings are encrypted."""
        ...

    @property
    def is_locked(self) -> bool:
        """Whether it cannot be opened."""
        ...

    @property
    def accepts_clear(self) -> bool:
        """Whether embeddings in clear are read."""
        ...

    @property
    def identity(self) -> str | None:
        """The random name of the key store; None where there is none."""
        ...

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Of the key store's database; none where there is none."""
        ...

    @property
    def is_unused(self) -> bool:
        """Whether no tenant has a key: nothing was ever encrypted."""
        ...

    def accept_only_sealed(self) -> None:
        """Read no embedding in clear from now on: whoever puts one into the database did it past the vault."""
        ...

    def require_open(self) -> None:
        """Refuse to go on without the key. Raises: VaultLockedError: the vault is locked."""
        ...

    def opened(self) -> "OpenVault | None":
        """The vault with its keys; None where nothing is encrypted. Raises: VaultLockedError: the vault is locked."""
        ...

    def make_ready(self, tenant: str) -> None:
        """Prepare for new subjects of a tenant, before a transaction: reading the master key may take long."""
        ...

    def make_keys(self, tenant: str, count: int) -> list[bytes | None]:
        """Make keys of new subjects; None for each where nothing is encrypted.

        Returns: their ids.
        """
        ...

    def lacking(self, key_ids: Collection[bytes]) -> set[bytes]:
        """The ids among these whose keys were destroyed."""
        ...

    def seal(self, plain: Sequence[Plain]) -> list[bytes]:
        """Embeddings as they are stored. Raises: KeyDestroyedError: the key of one is gone."""
        ...

    def opener(self, stored: Sequence[bytes], elsewhere: Unsealing | None = None) -> Opener:
        """Read the keys of stored embeddings.

        Args:
            stored: as it lies in the database.
            elsewhere: opens them in other processes where there are many; in this one by default.
        """
        ...

    def destroy(self, key_ids: Collection[bytes], wait_s: float = ERASE_WAIT_S) -> bool:
        """Destroy subjects' keys: nothing opens what they sealed, wherever a copy of it lies.

        Args:
            key_ids: of the keys.
            wait_s: longest wait, in seconds, until they have left the key store's write-ahead log.

        Returns: False where a long read keeps them in the key store's write-ahead log until it ends.
        """
        ...

    def hash_key(self, found: bytes | None) -> bytes | None:
        """The key of the hashes of subject ids (store/subject_hash.py), made where there is none.

        Args: found: 32 bytes that become it, where there is none yet.

        Returns: None where there is no key store to keep it.
        """
        ...

    @property
    def erasures_waiting(self) -> int:
        """Destructions whose keys are still in the key store's write-ahead log."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class ClearVault:
    """No vault: embeddings are stored in clear. What is encrypted already is refused."""

    is_sealing = False
    is_locked = False
    is_unused = True
    accepts_clear = True
    identity = None
    engines = ()
    erasures_waiting = 0

    def accept_only_sealed(self) -> None:
        """Everything is in clear."""

    def require_open(self) -> None:
        """Nothing is locked."""

    def opened(self) -> None:
        """There are no keys."""

    def make_ready(self, tenant: str) -> None:
        """There is nothing to prepare."""

    def make_keys(self, tenant: str, count: int) -> list[bytes | None]:  # noqa: ARG002 - of the protocol
        """No keys."""
        return [None] * count

    def lacking(self, key_ids: Collection[bytes]) -> set[bytes]:
        """Encrypted subjects cannot be here.

        Raises: VaultLockedError: there is one.
        """
        if key_ids:
            raise _no_key()
        return set()

    def seal(self, plain: Sequence[Plain]) -> list[bytes]:
        """The embeddings themselves."""
        if any(one.key_id is not None for one in plain):
            raise _no_key()
        return [one.embedding for one in plain]

    def opener(self, stored: Sequence[bytes], elsewhere: Unsealing | None = None) -> Opener:  # noqa: ARG002
        """Opens what is in clear."""
        return _CLEAR_OPENER

    def destroy(self, key_ids: Collection[bytes], wait_s: float = ERASE_WAIT_S) -> bool:  # noqa: ARG002
        """Nothing to destroy.

        Raises: VaultLockedError: there is.
        """
        if key_ids:
            raise _no_key()
        return True

    def hash_key(self, found: bytes | None) -> None:
        """There is no key store."""

    def close(self) -> None:
        """Nothing to let go."""


class _ClearOpener:
    is_incomplete = False

    def lacks(self, stored: bytes) -> bool:  # noqa: ARG002 - of the protocol
        return False

    def begin(self, stored: Sequence[bytes], bindings: Sequence[bytes]) -> Callable[[], Sequence[bytes]]:
        return partial(self.open, stored, bindings)

    def open(self, stored: Sequence[bytes], bindings: Sequence[bytes]) -> Sequence[bytes]:  # noqa: ARG002
        if key_ids_of(stored):
            raise _no_key()
        return stored


_CLEAR_OPENER: Final = _ClearOpener()
CLEAR: Final = ClearVault()


class LockedVault:
    """A vault that cannot be opened. Args: reason: raised by whatever would need it."""

    is_sealing = True
    is_locked = True
    is_unused = False
    accepts_clear = False
    identity = None
    engines = ()
    erasures_waiting = 0

    def __init__(self, reason: MatchkaError) -> None:
        self._reason = reason

    def accept_only_sealed(self) -> None:
        """Always refused."""
        raise self._reason

    def require_open(self) -> None:
        """Always refused."""
        raise self._reason

    def opened(self) -> "OpenVault | None":
        """Always refused."""
        raise self._reason

    def make_ready(self, tenant: str) -> None:  # noqa: ARG002 - of the protocol
        """Always refused."""
        raise self._reason

    def make_keys(self, tenant: str, count: int) -> list[bytes | None]:  # noqa: ARG002 - of the protocol
        """Always refused."""
        raise self._reason

    def lacking(self, key_ids: Collection[bytes]) -> set[bytes]:  # noqa: ARG002 - of the protocol
        """Always refused."""
        raise self._reason

    def seal(self, plain: Sequence[Plain]) -> list[bytes]:  # noqa: ARG002 - of the protocol
        """Always refused."""
        raise self._reason

    def opener(self, stored: Sequence[bytes], elsewhere: Unsealing | None = None) -> Opener:  # noqa: ARG002
        """Always refused."""
        raise self._reason

    def destroy(self, key_ids: Collection[bytes], wait_s: float = ERASE_WAIT_S) -> bool:  # noqa: ARG002
        """Always refused."""
        raise self._reason

    def hash_key(self, found: bytes | None) -> bytes | None:  # noqa: ARG002 - of the protocol
        """Always refused."""
        raise self._reason

    def close(self) -> None:
        """Nothing to let go."""


def _no_key() -> VaultLockedError:
    return VaultLockedError(
        "The templates of this store are encrypted, and there is no master key.",
        remedy="Set MATCHKA_MASTER_KEY_FILE to the key that they were encrypted with.",
    )
