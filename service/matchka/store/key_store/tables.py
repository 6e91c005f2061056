"""Tables of the key store: a database apart from the templates'."""

import uuid
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from matchka.store.schema import UtcDateTime
from matchka.store.vault.sealed import KEY_ID_BYTES

KEY_TABLES_VERSION: Final = 1


class KeyBase(DeclarativeBase):
    """The key store's metadata."""


class KeyStoreRow(KeyBase):
    """One row. `only_sealed`: no template in clear is left in the templates' database, and none is accepted."""

    __tablename__ = "key_store"
    identity: Mapped[str] = mapped_column(String(32), primary_key=True, default=lambda: uuid.uuid4().hex)
    version: Mapped[int] = mapped_column(Integer, default=KEY_TABLES_VERSION)
    only_sealed: Mapped[bool] = mapped_column(Boolean, default=False)


class TenantKeyRow(KeyBase):
    """A key of a tenant, which wraps its subjects' keys; new ones are wrapped by the current one."""

    __tablename__ = "tenant_keys"
    __table_args__ = (Index("tenant_keys_of_tenant", "tenant"), {"sqlite_autoincrement": True})
    number: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    tenant: Mapped[str] = mapped_column(String(64))
    is_current: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=lambda: datetime.now(UTC))


class MasterWrapRow(KeyBase):
    """A tenant's key, wrapped by a master key; by two of them while they are rotated."""

    __tablename__ = "tenant_key_wraps"
    tenant_key: Mapped[int] = mapped_column(ForeignKey("tenant_keys.number", ondelete="CASCADE"), primary_key=True)
    master: Mapped[str] = mapped_column(String(16), primary_key=True)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)


class SubjectKeyRow(KeyBase):
    """A subject's key, wrapped by one of its tenant. Without this row nothing opens what is encrypted under it."""

    __tablename__ = "subject_keys"
    __table_args__ = ({"sqlite_with_rowid": False},)  # ordered by the id itself
    key_id: Mapped[bytes] = mapped_column(LargeBinary(KEY_ID_BYTES), primary_key=True)
    tenant_key: Mapped[int] = mapped_column(ForeignKey("tenant_keys.number"))
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
