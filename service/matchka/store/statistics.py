"""Counts of a store: subjects, templates and references, by tenant, model and version."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Exists, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from matchka.store.schema import Base, DeletionRow, IdentityRow, ReferenceRow, SubjectRow, TemplateRow


@dataclass(frozen=True)
class Holding:
    """What a tenant holds of one version of a model."""

    tenant: str
    model: str
    version: str
    subjects: int
    templates: int


@dataclass(frozen=True)
class StoreStatistics:
    """What a store holds. Attributes: deletions: templates in the deletion log."""

    identity: str
    subjects: int
    templates: int
    references: int
    deletions: int
    holdings: tuple[Holding, ...]


def statistics_of(session: Session) -> StoreStatistics:
    """The counts of a store, in all and for each tenant, model and version."""
    rows = session.execute(
        select(
            SubjectRow.tenant,
            ReferenceRow.model,
            ReferenceRow.version,
            func.count(),
            func.sum(ReferenceRow.template_count),
        )
        .join(SubjectRow, SubjectRow.key == ReferenceRow.subject_key)
        .group_by(SubjectRow.tenant, ReferenceRow.model, ReferenceRow.version)
        .order_by(SubjectRow.tenant, ReferenceRow.model, ReferenceRow.version)
    )
    subjects, templates, references, deletions = row_counts(session, SubjectRow, TemplateRow, ReferenceRow, DeletionRow)
    return StoreStatistics(
        session.scalars(select(IdentityRow.identity)).one(),
        subjects,
        templates,
        references,
        deletions,
        tuple(Holding(*row[:4], int(row[4])) for row in rows),
    )


def row_counts(session: Session, *tables: type[Base]) -> list[int]:
    """How many rows each table has."""
    return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def has_version(model: str, versions: Sequence[str]) -> Exists:
    """SQL: does the subject of a reference row have a reference of one of these versions, too?"""
    other = aliased(ReferenceRow)
    return (
        select(other.subject_key)
        .where(other.subject_key == ReferenceRow.subject_key, other.model == model, other.version.in_(versions))
        .exists()
    )


def tenants_in(session: Session) -> list[str]:
    """Every tenant that has subjects, in order."""
    return _values(session, SubjectRow.tenant, select(func.min(SubjectRow.tenant)))


def versions_in(session: Session, model: str) -> list[str]:
    """Every version of a model that references are of, in order."""
    first = select(func.min(ReferenceRow.version)).where(ReferenceRow.model == model)
    return _values(session, ReferenceRow.version, first)


def _values(session: Session, column: InstrumentedAttribute[str], least: Select[str]) -> list[str]:
    """The values of a column: one look at an index for each, where DISTINCT would read all of it."""
    found: list[str] = []
    while (value := session.scalar(least.where(column > found[-1]) if found else least)) is not None:
        found.append(value)
    return found


def subjects_without(session: Session, model: str, version: str) -> list[tuple[str, int]]:
    """Tenant and key of each subject that has templates of a model, but none of this version."""
    others = [other for other in versions_in(session, model) if other != version]
    if not others:  # as mostly; to look for rows of another version would read a whole index
        return []
    rows = session.execute(
        select(SubjectRow.tenant, SubjectRow.key)
        .join(ReferenceRow, ReferenceRow.subject_key == SubjectRow.key)
        .where(ReferenceRow.model == model, ReferenceRow.version.in_(others), ~has_version(model, [version]))
        .distinct()
    )
    return [(row.tenant, row.key) for row in rows]
