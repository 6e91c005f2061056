"""The open vault: a key per subject, wrapped by a key per tenant, wrapped by the master key."""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_bytes
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection

from matchka.errors import KeyDestroyedError, SettingsError, StorageDamagedError, VaultLockedError
from matchka.settings import Settings
from matchka.store.database import UNHURRIED, Limits
from matchka.store.engine import file_of
from matchka.store.key_store.key_store import KeyStore
from matchka.store.key_store.master_key import KEY_BYTES, MasterKey, MasterKeySource, create_key_file
from matchka.store.sqlite.wal import ERASE_WAIT_S
from matchka.store.vault.sealed import (
    MARK,
    WrappedKey,
    embedding_in_clear,
    key_ids_of,
    new_key_ids,
    not_opened,
    seal,
    unwrap,
    wrap,
)
from matchka.store.vault.unsealing import SealedBatch, Unsealing
from matchka.store.vault.vault import CLEAR, LockedVault, Opener, Plain, Vault

HASH_KEY_OWNER: Final = "(subject hashes)"  # no tenant can be called so
LOGGER: Final = logging.getLogger("matchka.store")


class OpenVault:
    """A vault whose master key is at hand.

    Args:
        keys: the key store, closed with the vault.
        source: of the master key; read again where the key store was rewrapped for another.

    Raises: VaultLockedError: the key is missing, or another than that of the key store.
    """

    is_sealing = True
    is_locked = False

    def __init__(self, keys: KeyStore, source: MasterKeySource) -> None:
        self.keys = keys
        self._source = source
        self.master = source.read()
        self._secrets: dict[int, bytes] = {}
        self._ciphers: dict[int, AESGCM] = {}
        self._ready: set[str] = set()
        self._only_sealed = keys.only_sealed
        self.identity: str | None = keys.identity
        self.engines = (keys.engine,)
        masters = keys.masters()
        if masters and self.master.name not in masters:
            raise wrong_master(self.master, masters)
        with keys.engine.connect() as connection:
            for number, _, _ in keys.tenant_keys():
                self.tenant_cipher(connection, number)

    @property
    def accepts_clear(self) -> bool:
        """Whether embeddings in clear are read: until all are encrypted, by whichever process."""
        self._only_sealed = self._only_sealed or self.keys.only_sealed
        return not self._only_sealed

    @property
    def is_unused(self) -> bool:
        """Whether no tenant has a key."""
        return all(tenant == HASH_KEY_OWNER for _, tenant, _ in self.keys.tenant_keys())

    def require_open(self) -> None:
        """It is open."""

    def opened(self) -> "OpenVault":
        """Itself."""
        return self

    def make_ready(self, tenant: str) -> None:
        """Make a key of the tenant where it has none."""
        if tenant in self._ready:
            return
        with self.keys.engine.connect() as connection:
            number = self.keys.current_tenant_key(connection, tenant)
            if number is not None:
                self.tenant_cipher(connection, number)
        if number is None:
            master = self.read_master()
            with self.keys.writing() as connection:
                if self.keys.current_tenant_key(connection, tenant) is None:
                    self.make_tenant_key(connection, tenant, master)
        self._ready.add(tenant)

    def read_master(self) -> MasterKey:
        """The master key, read anew, since it may have been replaced; in no transaction: a command may take long."""
        return self._source.read()

    def make_keys(self, tenant: str, count: int) -> list[bytes | None]:
        """Make and store keys of new subjects; the tenant's own as well where it has none."""
        made: list[bytes | None] = []
        if not count:
            return made
        self.make_ready(tenant)
        with self.keys.writing() as connection:
            number = self.keys.current_tenant_key(connection, tenant)
            if number is None:
                number = self.make_tenant_key(connection, tenant, self.read_master())
            cipher = self.tenant_cipher(connection, number)
            rows = [(key_id, number, wrap(cipher, token_bytes(KEY_BYTES), key_id)) for key_id in new_key_ids(count)]
            self.keys.add_subject_keys(connection, rows)
            made.extend(key_id for key_id, _, _ in rows)
        return made

    def make_tenant_key(
        self, connection: Connection, tenant: str, master: MasterKey, secret: bytes | None = None
    ) -> int:
        """Make a key the tenant's current one, and wrap it; in a transaction of the key store.

        Args:
            connection: of the transaction.
            tenant: whose.
            master: what wraps it.
            secret: its 32 bytes; random ones by default.

        Raises: VaultLockedError: the master key at hand does not wrap all keys that are there: with one more that only
            it wraps, no master key would open them all.
        """
        self.master = master
        if self.keys.has_keys_not_wrapped_by(connection, self.master.name):
            raise wrong_master(self.master, self.keys.masters())
        number = self.keys.add_tenant_key(connection, tenant)
        wrapped = wrap(AESGCM(self.master.secret), secret or token_bytes(KEY_BYTES), tenant_binding(number, tenant))
        self.keys.add_wrap(connection, number, self.master.name, wrapped)
        return number

    def tenant_cipher(self, connection: Connection, number: int) -> AESGCM:
        """A tenant's key, unwrapped.

        Raises: VaultLockedError: it is gone, or the master key at hand does not open it.
        """
        known = self._ciphers.get(number)
        if known is not None:
            return known
        self._secrets[number] = self.tenant_secret(connection, number)
        self._ciphers[number] = AESGCM(self._secrets[number])
        return self._ciphers[number]

    def tenant_secret(self, connection: Connection, number: int) -> bytes:
        """The bytes of a tenant's key."""
        tenant = self.keys.tenant_of(connection, number)
        wraps = self.keys.wraps_of(connection, number)
        if self.master.name not in wraps:
            self.master = self._source.read()
        if tenant is None or self.master.name not in wraps:
            raise wrong_master(self.master, wraps)
        binding = tenant_binding(number, tenant)
        return unwrap(AESGCM(self.master.secret), wraps[self.master.name], binding)

    def lacking(self, key_ids: Collection[bytes]) -> set[bytes]:
        """The ids among these whose keys were destroyed."""
        return set(key_ids) - self.keys.wrapped_keys(key_ids).keys() if key_ids else set()

    def seal(self, plain: Sequence[Plain]) -> list[bytes]:
        """Encrypt embeddings, each under its subject's key."""
        keys = self._read({one.key_id for one in plain if one.key_id is not None})
        sealed = []
        for one in plain:
            if one.key_id is None:
                raise StorageDamagedError("A subject has no key.", remedy="Run `matchka vault encrypt`.")
            if one.key_id not in keys:
                raise key_destroyed()
            key_id, number, wrapped = keys[one.key_id]
            key = AESGCM(unwrap(self._ciphers[number], wrapped, key_id))
            sealed.append(seal(key, key_id, one.embedding, one.binding))
        return sealed

    def opener(self, stored: Sequence[bytes], elsewhere: Unsealing | None = None) -> Opener:
        """Read the keys of stored embeddings."""
        wanted = key_ids_of(stored)
        keys = self._read(wanted)
        secrets = {number: self._secrets[number] for number in {number for _, number, _ in keys.values()}}
        return _Opener(keys, secrets, wanted - keys.keys(), not self.accepts_clear, elsewhere)

    def _read(self, key_ids: Collection[bytes]) -> dict[bytes, WrappedKey]:
        """Wrapped keys, each with the cipher of its tenant at hand."""
        wrapped = self.keys.wrapped_keys(key_ids) if key_ids else {}
        unknown = {number for _, number, _ in wrapped.values()} - self._ciphers.keys()
        if unknown:
            with self.keys.engine.connect() as connection:
                gone = [number for number in unknown if self.keys.tenant_of(connection, number) is None]
                if gone:  # rotated between the two looks: the keys are wrapped by another one now
                    return self._read(key_ids)
                for number in unknown:
                    self.tenant_cipher(connection, number)
        return wrapped

    def destroy(self, key_ids: Collection[bytes], wait_s: float = ERASE_WAIT_S) -> bool:
        """Destroy subjects' keys."""
        return self.keys.destroy(key_ids, wait_s) if key_ids else True

    def hash_key(self, found: bytes | None) -> bytes:
        """The key of the hashes of subject ids: kept like a tenant's, so that the master key is rotated for it, too."""
        with self.keys.engine.connect() as connection:
            number = self.keys.current_tenant_key(connection, HASH_KEY_OWNER)
            if number is not None:
                return self.tenant_secret(connection, number)
        master = self.read_master()
        with self.keys.writing() as connection:
            number = self.keys.current_tenant_key(connection, HASH_KEY_OWNER)
            if number is None:  # another process may have been faster
                number = self.make_tenant_key(connection, HASH_KEY_OWNER, master, found)
            return self.tenant_secret(connection, number)

    @property
    def erasures_waiting(self) -> int:
        """Destructions whose keys are still in the key store's log."""
        return self.keys.erasures_waiting

    def accept_only_sealed(self) -> None:
        """Accept no embedding in clear from now on."""
        self.keys.accept_only_sealed()
        self._only_sealed = True

    def close(self) -> None:
        """Close the key store."""
        self.keys.close()


class _Opener:
    def __init__(
        self,
        keys: dict[bytes, WrappedKey],
        secrets: dict[int, bytes],
        destroyed: set[bytes],
        only_sealed: bool,
        elsewhere: Unsealing | None = None,
    ) -> None:
        self._keys = keys
        self._secrets = secrets
        self._destroyed = destroyed
        self._only_sealed = only_sealed
        self._elsewhere = elsewhere
        self.is_incomplete = bool(destroyed)

    def lacks(self, stored: bytes) -> bool:
        return self.is_incomplete and not self._destroyed.isdisjoint(key_ids_of([stored]))

    def open(self, stored: Sequence[bytes], bindings: Sequence[bytes]) -> list[bytes]:
        return self.begin(stored, bindings)()

    def begin(self, stored: Sequence[bytes], bindings: Sequence[bytes]) -> Callable[[], list[bytes]]:
        if self.is_incomplete and any(map(self.lacks, stored)):
            raise key_destroyed()
        places = [place for place, one in enumerate(stored) if one[:4] == MARK]
        if len(places) < len(stored) and self._only_sealed:
            raise embedding_in_clear()
        sealed, bound = [stored[place] for place in places], [bindings[place] for place in places]
        batch = SealedBatch(sealed, bound, self._keys, self._secrets)
        wait = batch.open if self._elsewhere is None else self._elsewhere.begin(batch)
        return partial(_opened, stored, places, wait)


def _opened(stored: Sequence[bytes], places: Sequence[int], wait: Callable[[], list[bytes]]) -> list[bytes]:
    """Embeddings, of which those at some places were encrypted."""
    opened = list(stored)
    try:
        for place, plain in zip(places, wait(), strict=True):
            opened[place] = plain
    except InvalidTag as error:
        raise not_opened() from error
    return opened


def key_destroyed() -> KeyDestroyedError:
    """The error for a subject whose key was destroyed."""
    return KeyDestroyedError(
        "The key of this subject was destroyed when it was deleted; nothing opens this copy of its templates.",
        remedy="Enrol the subject again, or delete it.",
    )


@dataclass(frozen=True)
class VaultPlan:
    """What a vault is to be opened with.

    Attributes:
        create_key: make the key file where no key was ever used.
        backup_file: a copy of the key store that is kept up to date.
        limits: of the waits for its database server.
    """

    source: MasterKeySource
    key_database_url: str
    create_key: bool = False
    backup_file: Path | None = None
    limits: Limits = UNHURRIED

    @classmethod
    def of(cls, settings: Settings) -> "VaultPlan":
        """What the settings say.

        Raises: SettingsError: they contradict each other.
        """
        settings.require_one_master_key()
        file, key_file = file_of(settings.effective_database_url), file_of(settings.effective_key_database_url)
        if file is not None and key_file is not None and file.resolve() == key_file.resolve():  # in two spellings
            raise SettingsError(
                "The key store and the templates are in one file: its keys would be in the templates' backups.",
                value="MATCHKA_KEY_DATABASE_URL",
                remedy="Name another file.",
            )
        source = MasterKeySource(settings.master_key_file, settings.master_key_command)
        return cls(
            source,
            settings.effective_key_database_url,
            settings.create_master_key,
            settings.key_backup_file,
            Limits.of(settings.database),
        )


@contextmanager
def opened_vault(plan: VaultPlan) -> Iterator[Vault]:
    """The vault of a service: locked where it cannot be opened, which it says; none where no key is set."""
    vault = _open(plan)
    try:
        yield vault
    finally:
        vault.close()


def _open(plan: VaultPlan) -> Vault:
    if not plan.source.is_set:
        return CLEAR
    keys = KeyStore(plan.key_database_url, plan.backup_file, plan.limits)
    try:
        _create_missing_key(plan, keys)
        return OpenVault(keys, plan.source)
    except (VaultLockedError, StorageDamagedError) as error:
        keys.close()
        LOGGER.critical("the vault is locked: %s", error)
        # one kind of reason: it locks the vault, which ends no process
        return LockedVault(VaultLockedError(error.detail, value=error.value, remedy=error.remedy))
    except BaseException:
        keys.close()
        raise


def _create_missing_key(plan: VaultPlan, keys: KeyStore) -> None:
    file = plan.source.file
    if plan.create_key and file is not None and not file.exists() and not keys.masters():
        key = create_key_file(file)
        LOGGER.warning("made a new master key %s in %s: keep a copy where the backups are not", key.name, file)


def tenant_binding(number: int, tenant: str) -> bytes:
    """Associated data of a tenant's wrapped key."""
    return b"matchka-tenant-key-1" + number.to_bytes(8) + tenant.encode()


def wrong_master(master: MasterKey, masters: Collection[str]) -> VaultLockedError:
    """The error for a master key that is not the key store's."""
    return VaultLockedError(
        f"The master key is not the one of this key store, which has {', '.join(sorted(masters)) or 'none'}.",
        value=master.name,
        remedy="Set MATCHKA_MASTER_KEY_FILE to the key that the templates were encrypted with.",
    )
