"""Bulk read of a model's references, for filling galleries at start."""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import Engine, Select, func, or_, select

from matchka.store.engine import database_of
from matchka.store.integrity.stored_embeddings import verified_rows
from matchka.store.schema import ReferenceRow, SubjectRow
from matchka.store.statistics import has_version
from matchka.store.vault.sealed import Binding
from matchka.store.vault.unsealing import unsealing
from matchka.store.vault.vault import CLEAR, Opener, Vault
from matchka.vectors import FloatArray

LOGGER: Final = logging.getLogger("matchka.store")
_KEY: Final = ReferenceRow.__table__.c.subject_key  # one reference of a version has it
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
) -> Generator[StoredReferences, None, None]:
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
    if only is not None:  # another tenant's first subject may be enrolled before all is read: the feed tells of it
        others = select(SubjectRow.key).where(or_(SubjectRow.tenant < only, SubjectRow.tenant > only))
        query = query.where(_KEY.not_in(others))
    if unless:
        query = query.where(~has_version(model, unless))
    with unsealing() as elsewhere:
        opener = partial(vault.opener, elsewhere=elsewhere)
        for columns in database_of(engine).columns(engine, query, _KEY, ROWS_AT_ONCE):
            for tenant, rows in [(only, _Rows(*columns))] if only is not None else _by_tenant(columns):
                yield from _batch(Binding(tenant, model, version), rows, opener(rows.embeddings))


def _query(model: str, version: str, with_tenant: bool) -> Select[*tuple[Any, ...]]:
    query: Select[*tuple[Any, ...]] = select(_KEY, ReferenceRow.embedding, ReferenceRow.digest).where(
        ReferenceRow.model == model, ReferenceRow.version == version
    )
    if with_tenant:
        query = query.add_columns(SubjectRow.tenant).join(SubjectRow, SubjectRow.key == ReferenceRow.subject_key)
    return query


@dataclass(frozen=True)
class _Rows:
    """Columns of references of one tenant."""

    keys: Sequence[int]
    embeddings: Sequence[bytes]
    digests: Sequence[int | None]

    def at(self, places: Sequence[int]) -> "_Rows":
        """Some of them."""
        return _Rows(
            [self.keys[place] for place in places],
            [self.embeddings[place] for place in places],
            [self.digests[place] for place in places],
        )


def _by_tenant(columns: Sequence[Sequence[Any]]) -> Iterator[tuple[str, _Rows]]:
    *values, tenants = columns
    rows = _Rows(*values)
    for tenant in sorted(set(tenants)):
        yield tenant, rows.at([place for place, other in enumerate(tenants) if other == tenant])


def _batch(binding: Binding, rows: _Rows, opener: Opener) -> Iterator[StoredReferences]:
    found = len(rows.keys)
    if opener.is_incomplete:
        rows = rows.at([place for place, one in enumerate(rows.embeddings) if not opener.lacks(one)])
        lost = found - len(rows.keys)
        LOGGER.warning("%d subjects of an older copy were deleted since: nothing opens them", lost)
    if len(rows.keys):
        keys = np.asarray(rows.keys, np.int64)
        opening = opener.begin(rows.embeddings, binding.of_references(keys.tolist()))
        yield StoredReferences(binding.tenant, keys, rows.embeddings, rows.digests, opening)
