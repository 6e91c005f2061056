"""What a vault holds, and what is still to do."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from matchka.store.key_store.tables import SubjectKeyRow
from matchka.store.schema import KeyErasureRow, SubjectRow
from matchka.store.statistics import row_counts
from matchka.store.vault.open_vault import OpenVault
from matchka.store.vault.subject_keys import subjects_in_clear, subjects_without_key


@dataclass(frozen=True)
class TenantKeys:
    """A key of a tenant. Attributes: subjects: whose keys it wraps; is_current: false while it is rotated away."""

    number: int
    tenant: str
    is_current: bool
    subjects: int


@dataclass(frozen=True)
class VaultStatus:
    """A vault beside the store that it encrypts.

    Attributes:
        master: the name of the key at hand.
        masters: how many tenants' keys each master key opens, by its name; two while they are rotated.
        subjects, in_clear, without_key: of the store; the last ones are of an older copy, and were deleted since.
        unused_keys: of nobody in the store: of enrolments that were cut short, or of a store that was replaced.
        erasures_waiting: keys of deleted subjects that are still to be destroyed.
        only_encrypted: whether nothing in clear is read any more.
    """

    master: str
    masters: dict[str, int]
    tenant_keys: list[TenantKeys]
    subjects: int
    in_clear: int
    without_key: int
    unused_keys: int
    erasures_waiting: int
    only_encrypted: bool


def vault_status(session: Session, vault: OpenVault) -> VaultStatus:
    """Count a vault and its store.

    Args:
        session: of the store.
        vault: its vault.
    """
    count = select(SubjectKeyRow.tenant_key, func.count()).group_by(SubjectKeyRow.tenant_key)
    with vault.keys.engine.connect() as connection:
        wrapped = {row.tenant_key: row[1] for row in connection.execute(count)}
    subjects, waiting = row_counts(session, SubjectRow, KeyErasureRow)
    noted = session.scalars(select(KeyErasureRow.key_id)).all()
    destroyed = len(vault.lacking(noted))  # and kept in the log by a long read
    in_clear, without_key = subjects_in_clear(session), len(subjects_without_key(session, vault))
    tenant_keys = [TenantKeys(*key, wrapped.get(key[0], 0)) for key in vault.keys.tenant_keys()]
    return VaultStatus(
        master=vault.master.name,
        masters=vault.keys.masters(),
        tenant_keys=tenant_keys,
        subjects=subjects,
        in_clear=in_clear,
        without_key=without_key,
        unused_keys=sum(wrapped.values()) - (subjects - in_clear - without_key) - (waiting - destroyed),
        erasures_waiting=waiting,
        only_encrypted=not vault.accepts_clear,
    )
