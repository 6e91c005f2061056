"""Reading every reference of a model at once: what a start waits for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import Engine, Row, Select, func, select

from service.store.census import has_version
from service.store.rows import intact_rows
from service.store.schema import ReferenceRow, SubjectRow
from service.vectors import FloatArray

ROWS_AT_ONCE: Final = 4_096  # 4 MB of 256 components


@dataclass(frozen=True)
class StoredReferences:
    """References of one tenant as the database handed them out: not yet checked, so that another thread can do that.

    Attributes: keys: int64, (references,), of the subjects.
    """

    tenant: str
    keys: npt.NDArray[np.int64]
    embeddings: Sequence[bytes]
    digests: Sequence[int | None]

    def rows(self) -> FloatArray:
        """The embeddings, float32, (references, full_dim).

        Raises: StorageDamagedError: one is not what was stored.
        """
        return intact_rows(self.keys, self.embeddings, self.digests)


def read_references(engine: Engine, model: str, version: str, unless: Sequence[str] = ()) -> Iterator[StoredReferences]:
    """Every reference of a model and version in the order of the subjects' keys, a few thousand at a time.

    The rows are neither made into objects nor sorted by tenant: either takes longer than reading them.

    Args:
        engine: of the store.
        model: the bundle's name.
        version: the bundle's version.
        unless: versions; subjects that have a reference of one of them are left out.
    """
    with engine.connect() as connection:
        # both ends of an index, where asking for the different tenants would read all of it
        first, last = connection.execute(
            select(
                select(func.min(SubjectRow.tenant)).scalar_subquery(),
                select(func.max(SubjectRow.tenant)).scalar_subquery(),
            )
        ).one()
        only = first if first == last else None
        query = _query(model, version, only is None)
        if unless:
            query = query.where(~has_version(model, unless))
        rows = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(query)
        for partition in rows.partitions():
            if only is not None:
                yield _batch(only, partition)
                continue
            for tenant in sorted({row.tenant for row in partition}):
                yield _batch(tenant, [row for row in partition if row.tenant == tenant])


def _query(model: str, version: str, with_tenant: bool) -> "Select[tuple[int, bytes, int | None, str]]":
    query = (
        select(ReferenceRow.subject_key, ReferenceRow.embedding, ReferenceRow.digest)
        .where(ReferenceRow.model == model, ReferenceRow.version == version)
        .order_by(ReferenceRow.subject_key)
    )
    if with_tenant:
        return query.add_columns(SubjectRow.tenant).join(SubjectRow, SubjectRow.key == ReferenceRow.subject_key)
    return query  # type: ignore[return-value]


def _batch(tenant: str, rows: Sequence[Row[tuple[int, bytes, int | None, str]]]) -> StoredReferences:
    keys, embeddings, digests = list(zip(*rows, strict=True))[:3]
    return StoredReferences(tenant, np.asarray(keys, np.int64), embeddings, digests)
