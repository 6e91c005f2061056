"""What an import would meet in the store, found before anything is stored."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from matchka.errors import BackupError, RestoreRefusedError
from matchka.store.deletions import Deletion, deleted_among, in_chunks
from matchka.store.schema import SubjectRow, TemplateRow
from matchka.store.transfer.exporter import ExportManifest, SubjectLine
from matchka.store.transfer.import_plan import ImportPlan


def require_room(
    session: Session,
    plan: ImportPlan,
    tenant: str,
    manifest: ExportManifest,
    batches: Iterable[tuple[list[SubjectLine], Any]],
    deletions: Callable[[], Iterator[Deletion]],
) -> None:
    """Refuse an export whose templates, or other ones of its subjects, are there already.

    What a deletion log names is not in the way: it is deleted, or kept out, before anything is stored. Nor is a subject
    that has exactly the templates of the export: it was imported before.

    Args:
        session: of the store; each batch is read in a transaction of its own.
        plan: what and how.
        tenant: whose the subjects become.
        manifest: of the export.
        batches: its lines, all of which are read.
        deletions: those that are brought along, all of which are read.

    Raises:
        BackupError: a subject is in the export twice.
        RestoreRefusedError: something is in the way.
    """
    met = _Met()
    seen: set[str] = set()
    for lines, _rows in batches:
        for line in lines:
            if line.subject_id in seen:
                raise BackupError(
                    "A subject is there already, in an earlier line of the export.",
                    value=line.subject_id,
                    remedy="Export again.",
                )
            seen.add(line.subject_id)
        _compare(session, plan, (tenant, manifest.model, manifest.version), lines, met)
        session.rollback()
    named = {deletion.template_id for deletion in deletions() if deletion.template_id in met.ids}
    if plan.resurrect:
        named = set()
    else:
        named |= deleted_among(session, met.ids - named)
    for template_id, subject_id in met.of_others.items():
        if template_id not in named:
            raise RestoreRefusedError(
                "A template of this export is there already, of another subject or tenant; nothing was imported.",
                value=subject_id,
                remedy="Import it where it is not, or delete it there first.",
            )
    for template_id, subject_id in met.differing.items():
        if template_id not in named:
            raise RestoreRefusedError(
                "A subject has templates of this model and version already; nothing was imported.",
                value=subject_id,
                remedy="Say --existing skip or --existing replace.",
            )


@dataclass
class _Met:
    """Templates that are in the way unless a deletion log names them, by their ids, each with a subject's.

    Attributes:
        of_others: of the export, and in the store of another subject, tenant, model or version.
        differing: that a subject has in the store only, or in the export only.
    """

    of_others: dict[str, str] = field(default_factory=dict)
    differing: dict[str, str] = field(default_factory=dict)

    @property
    def ids(self) -> set[str]:
        return {*self.of_others, *self.differing}


def _compare(
    session: Session, plan: ImportPlan, whose: tuple[str, str, str], lines: list[SubjectLine], met: _Met
) -> None:
    columns = (
        TemplateRow.template_id,
        SubjectRow.subject_id,
        SubjectRow.tenant,
        TemplateRow.model,
        TemplateRow.version,
    )
    query = select(*columns).join(SubjectRow, SubjectRow.key == TemplateRow.subject_key)
    subject_of = {entry.template_id: line.subject_id for line in lines for entry in line.templates}
    for chunk in in_chunks(subject_of):
        for template_id, subject_id, *place in session.execute(query.where(TemplateRow.template_id.in_(chunk))):
            if (subject_id, *place) != (subject_of[template_id], *whose):
                met.of_others[template_id] = subject_of[template_id]
    if plan.existing != "fail":
        return
    tenant, model, version = whose
    query = query.where(SubjectRow.tenant == tenant, TemplateRow.model == model, TemplateRow.version == version)
    held: dict[str, set[str]] = {}
    for chunk in in_chunks(line.subject_id for line in lines):
        for row in session.execute(query.where(SubjectRow.subject_id.in_(chunk))):
            held.setdefault(row.subject_id, set()).add(row.template_id)
    for line in lines:
        there = held.get(line.subject_id)
        if there:
            coming = {entry.template_id for entry in line.templates}
            met.differing.update(dict.fromkeys(there ^ coming, line.subject_id))
