"""Bulk read of a model's references, for filling galleries at start."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import Engine, Select, func, select

from matchka.store.engine import database_of
from matchka.store.integrity.stored_embeddings import verified_rows
from matchka.store.schema import ReferenceRow, SubjectRow
from matchka.store.statistics import has_version
from matchka.store.vault.sealed import Binding
from matchka.store.vault.unsealing import unsealing
from matchka.store.vault.vault import CLEAR, Opener, Vault
from matchka.vectors import FloatArray

LOGGER: Final = logging.getLogger("matchka.store")
ROWS_AT_ONCE: Final = 1_024  # 1 MB of 256 components, which stays in the processor's cache until it is put


@dataclass(frozen=True)
class StoredReferences:
    """References of one tenant as the database handed them out: not yet checked, so that another thread can do that.

    Attributes:
        keys: int64, (references,), of the subjects.
        opening: waits for the embeddings in clear.
    """

    tenant: str
    keys: npt.NDArray[np.int64]
    embeddings: Sequence[bytes]
    digests: Sequence[int | None]
    opening: Callable[[], Sequence[bytes]]

    def rows(self) -> FloatArray:
        """The embeddings, float32, (references, full_dim).

        Raises: StorageDamagedError: one is not what was stored.
        """
        return verified_rows(self.keys, self.embeddings, self.digests, self.opening())


def read_references(
    engine: Engine, model: str, version: str, unless: Sequence[str] = (), vault: Vault = CLEAR
) -> Iterator[StoredReferences]:
    """Every reference of a model and version in the order of the subjects' keys, a few thousand at a time.

    The rows are neither made into objects nor sorted by tenant: either takes longer than reading them.

    Args:
        engine: of the store.
        model: the bundle's name.
        version: the bundle's version.
        unless: versions; subjects that have a reference of one of them are left out.
        vault: of the store. Subjects whose key was destroyed are left out.
    """
    with engine.connect() as connection:
        # both ends of an index, where asking for the different tenants would read all of it
        ends = [select(end(SubjectRow.tenant)).scalar_subquery() for end in (func.min, func.max)]
        first, last = connection.execute(select(*ends)).one()
    only = first if first == last else None
    query = _query(model, version, only is None)
    if unless:
        query = query.where(~has_version(model, unless))
    with unsealing() as elsewhere:
        opener = partial(vault.opener, elsewhere=elsewhere)
        for rows in database_of(engine).rows(engine, query, ROWS_AT_ONCE):
            for tenant in [only] if only is not None else sorted({row[3] for row in rows}):
                of_tenant = rows if tenant == only else [row for row in rows if row[3] == tenant]
                yield from _batch(Binding(tenant, model, version), of_tenant, opener(stored_in(of_tenant)))


def _query(model: str, version: str, with_tenant: bool) -> Select[*tuple[Any, ...]]:
    query: Select[*tuple[Any, ...]] = (
        select(ReferenceRow.subject_key, ReferenceRow.embedding, ReferenceRow.digest)
        .where(ReferenceRow.model == model, ReferenceRow.version == version)
        .order_by(ReferenceRow.subject_key)
    )
    if with_tenant:
        query = query.add_columns(SubjectRow.tenant).join(SubjectRow, SubjectRow.key == ReferenceRow.subject_key)
    return query


def stored_in(rows: Sequence[Sequence[Any]]) -> list[bytes]:
    """The embeddings of rows, as they are stored."""
    return [row[1] for row in rows]


def _batch(binding: Binding, rows: Sequence[Sequence[Any]], opener: Opener) -> Iterator[StoredReferences]:
    readable = [row for row in rows if not opener.lacks(row[1])] if opener.is_incomplete else rows
    if len(readable) < len(rows):
        LOGGER.warning("%d subjects of an older copy were deleted since: nothing opens them", len(rows) - len(readable))
    if readable:
        keys, embeddings, digests, *_ = zip(*readable, strict=True)
        opening = opener.begin(embeddings, binding.of_references(keys))
        yield StoredReferences(binding.tenant, np.asarray(keys, np.int64), embeddings, digests, opening)
