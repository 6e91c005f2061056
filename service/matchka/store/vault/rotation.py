"""Rotation: the same keys under another wrapping key, while a service serves. Embeddings stay as they are."""

from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, bindparam, delete, func, select, update

from matchka.errors import VaultError
from matchka.store.key_store.master_key import MasterKey
from matchka.store.key_store.tables import MasterWrapRow, SubjectKeyRow, TenantKeyRow
from matchka.store.vault.open_vault import HASH_KEY_OWNER, OpenVault, tenant_binding
from matchka.store.vault.sealed import unwrap, wrap

KEYS_AT_ONCE: Final = 1_000

Progress = Callable[[int, int], None]  # keys done, of how many


def rotate_tenant(vault: OpenVault, tenant: str, progress: Progress) -> int:
    """Give a tenant a new key, wrap its subjects' keys by it, and delete the old one.

    A rotation that was cut short left an old key behind: then that is finished first, without a third one.

    Returns: how many subjects' keys were wrapped anew.

    Raises:
        VaultError: the tenant has no key, or it is none: the key of the hashes of subject ids stays what it is.
        RotationInProgressError: another process rotates.
    """
    if tenant == HASH_KEY_OWNER:
        raise VaultError("This key is never replaced.", value=tenant, remedy="Name a tenant.")
    with vault.keys.rotating():
        master = vault.read_master()
        with vault.keys.writing() as connection:
            old = _numbers(connection, tenant, is_current=False)
            if not old:
                old = _numbers(connection, tenant, is_current=True)
                if not old:
                    raise VaultError("The tenant has no key.", value=tenant, remedy="See `matchka vault status`.")
                vault.make_tenant_key(connection, tenant, master)
            total = _wrapped_by(connection, old)
        last: bytes | None = b""
        done = 0
        while last is not None:
            progress(done, max(done, total))
            with vault.keys.writing() as connection:
                rewrapped, last = _rewrap_some(connection, vault, tenant, old, last)
                if last is None:
                    _delete_tenant_keys(connection, old)
            done += rewrapped
        vault.keys.erase_log()
    return done


def _rewrap_some(
    connection: Connection, vault: OpenVault, tenant: str, old: list[int], last: bytes
) -> tuple[int, bytes | None]:
    """Wrap the next keys anew, in the order of their ids; nobody wraps any by the old key since there is a new one.

    Returns: how many, and the id of the last one; None where there was none.
    """
    query = (
        select(SubjectKeyRow.key_id, SubjectKeyRow.tenant_key, SubjectKeyRow.wrapped)
        .where(SubjectKeyRow.tenant_key.in_(old), SubjectKeyRow.key_id > last)
        .order_by(SubjectKeyRow.key_id)
        .limit(KEYS_AT_ONCE)
    )
    rows = connection.execute(query).all()
    if not rows:
        return 0, None
    number = vault.keys.current_tenant_key(connection, tenant)
    if number is None:
        raise VaultError("The tenant has no key.", value=tenant, remedy="See `matchka vault status`.")
    new = vault.tenant_cipher(connection, number)
    change = (
        update(SubjectKeyRow)
        .where(SubjectKeyRow.key_id == bindparam("of_key"))
        .values(tenant_key=number, wrapped=bindparam("anew"))
    )
    values = []
    for row in rows:
        secret = unwrap(vault.tenant_cipher(connection, row.tenant_key), row.wrapped, row.key_id)
        values.append({"of_key": row.key_id, "anew": wrap(new, secret, row.key_id)})
    connection.execute(change, values)
    return len(rows), rows[-1].key_id


def _delete_tenant_keys(connection: Connection, numbers: list[int]) -> None:
    left = _wrapped_by(connection, numbers)
    if left:
        raise VaultError(
            "Keys are still wrapped by the tenant's old key.", value=left, remedy="Run the same command again."
        )
    connection.execute(delete(MasterWrapRow).where(MasterWrapRow.tenant_key.in_(numbers)))
    connection.execute(delete(TenantKeyRow).where(TenantKeyRow.number.in_(numbers)))


def _numbers(connection: Connection, tenant: str, *, is_current: bool) -> list[int]:
    query = select(TenantKeyRow.number).where(TenantKeyRow.tenant == tenant, TenantKeyRow.is_current.is_(is_current))
    return list(connection.scalars(query))


def _wrapped_by(connection: Connection, numbers: list[int]) -> int:
    query = select(func.count()).select_from(SubjectKeyRow).where(SubjectKeyRow.tenant_key.in_(numbers))
    return connection.scalar(query) or 0


def rotate_master(vault: OpenVault, new: MasterKey, progress: Progress) -> bool:
    """Wrap every tenant's key by another master key, and forget the old wraps once the service has the new one.

    Two steps, so that at every moment the key that the settings name opens the store: while they name the old one,
    wraps by the new are added; once they name the new one, all others are deleted.

    Args:
        vault: opened by the master key of the settings.
        new: the key to go over to.
        progress: called with the tenants' keys done, of how many.

    Returns: whether the rotation is finished; False where the settings have to name the new key first.

    Raises:
        VaultError: a tenant's key is not wrapped by the new master key.
        RotationInProgressError: another process rotates.
    """
    with vault.keys.rotating():
        if vault.master.name == new.name:
            with vault.keys.writing() as connection:
                _keep_only(connection, new.name)
            vault.keys.erase_log()
            return True
        numbers = [number for number, _, _ in vault.keys.tenant_keys()]
        for done, number in enumerate(numbers):
            progress(done, len(numbers))
            with vault.keys.writing() as connection:
                _add_wrap(connection, vault, number, new)
        progress(len(numbers), len(numbers))
    return False


def _add_wrap(connection: Connection, vault: OpenVault, number: int, new: MasterKey) -> None:
    tenant = vault.keys.tenant_of(connection, number)
    if tenant is None or new.name in vault.keys.wraps_of(connection, number):
        return
    secret = vault.tenant_secret(connection, number)
    vault.keys.add_wrap(connection, number, new.name, wrap(AESGCM(new.secret), secret, tenant_binding(number, tenant)))


def _keep_only(connection: Connection, name: str) -> None:
    """Delete the wraps by all master keys but one.

    Raises: VaultError: that one does not wrap all.
    """
    wrapped = select(MasterWrapRow.tenant_key).where(MasterWrapRow.master == name)
    missing = connection.scalars(select(TenantKeyRow.tenant).where(TenantKeyRow.number.not_in(wrapped))).all()
    if missing:
        raise VaultError(
            "Tenants got keys under the old master key meanwhile; nothing was deleted.",
            value=", ".join(sorted(missing)),
            remedy="Set MATCHKA_MASTER_KEY_FILE to the old key for one more run of this command, then back.",
        )
    connection.execute(delete(MasterWrapRow).where(MasterWrapRow.master != name))
