"""Importing an export: checked whole, then stored in pieces, without templates that any deletion log calls deleted.

A piece is a transaction of some hundred subjects, so that neither enrolments nor the change feed wait long for it. An
import that is cut short is finished by the same command: what is there already is left.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from matchka.errors import BackupError
from matchka.store.audit.log import AuditLog
from matchka.store.audit.records import Outcome
from matchka.store.conflicts import repeated_on_conflict
from matchka.store.deletions import (
    Deletion,
    forget_deletions,
    horizon_in,
    in_chunks,
    living_deletions,
    merge_deletions,
    remove_templates,
    require_younger,
)
from matchka.store.schema import TemplateRow
from matchka.store.subject_hash import SubjectHasher
from matchka.store.transfer.archive import Advance, copy_member, opened_archive
from matchka.store.transfer.deletions_file import deletions_of
from matchka.store.transfer.export_reader import batches_of
from matchka.store.transfer.exporter import (
    DELETIONS_NAME,
    EMBEDDINGS_NAME,
    MANIFEST_NAME,
    SUBJECTS_NAME,
    ExportManifest,
    SubjectLine,
)
from matchka.store.transfer.import_check import require_room
from matchka.store.transfer.import_piece import ImportPiece
from matchka.store.transfer.import_plan import ImportPlan, ImportReport
from matchka.store.vault.subject_keys import finish_erasures, new_key_destroyed_on_failure
from matchka.store.vault.vault import CLEAR, Vault
from matchka.vectors import FloatArray

GET_ANOTHER: Final = "Export again."


@dataclass(frozen=True)
class _Import:
    """One import: each of its methods that writes is one transaction, or several of them."""

    engine: Engine
    plan: ImportPlan
    manifest: ExportManifest
    tenant: str
    vault: Vault
    audit: AuditLog | None
    hasher: SubjectHasher | None

    def new_report(self) -> ImportReport:
        return ImportReport(self.manifest, self.tenant)

    def deletions(self, archive: zipfile.ZipFile) -> Iterator[Deletion]:
        """Those that are brought along."""
        with archive.open(DELETIONS_NAME) as lines:
            yield from deletions_of(lines, DELETIONS_NAME)
        yield from self.plan.deletions

    @repeated_on_conflict
    def honour(self, template_ids: Sequence[str], deletions: Sequence[Deletion] = ()) -> ImportReport:
        """Delete templates that the deletion log names, or take them off it again.

        Args:
            template_ids: which, whether they are there or not.
            deletions: entered into the log before.
        """
        report = self.new_report()
        with Session(self.engine) as session, session.begin():
            merge_deletions(session, deletions)
            if self.plan.resurrect:
                is_one = TemplateRow.template_id.in_(template_ids)
                forget_deletions(session, session.scalars(select(TemplateRow.template_id).where(is_one)).all())
                return report
            report.removed = remove_templates(session, template_ids, self.vault)
            if self.audit is not None and report.removed:
                self.audit.note(session, Outcome.DELETED, detail="import", count=report.removed)
        return report

    @repeated_on_conflict
    def store(self, lines: list[SubjectLine], rows: FloatArray) -> ImportReport:
        """Store some subjects."""
        report = self.new_report()
        with Session(self.engine) as session, session.begin(), new_key_destroyed_on_failure(self.vault) as made:
            ImportPiece(session, self.plan, report, self.vault, made, self.hasher).add(lines, rows)
            if self.plan.resurrect:
                forget_deletions(session, (entry.template_id for line in lines for entry in line.templates))
            if self.audit is not None and report.templates:
                names = (self.tenant, None, self.manifest.model, self.manifest.version)
                self.audit.note(session, Outcome.ENROLLED, *names, detail="import", count=report.templates)
        return report


def import_archive(
    engine: Engine,
    plan: ImportPlan,
    full_dims: Mapping[tuple[str, str], int],
    advance: Advance,
    progress: Advance,
    vault: Vault = CLEAR,
    audit: AuditLog | None = None,
    hasher: SubjectHasher | None = None,
) -> ImportReport:
    """Import an export; of a file of SQLite the caller owns the data folder.

    Nothing is stored before all of the export has been checked, and compared with what is there.

    Args:
        engine: of a store of today's tables.
        plan: what and how.
        full_dims: components of an embedding by model and version, of the bundles that are there.
        advance: called with the bytes checked, of how many.
        progress: called with the templates compared, and then with those stored, of how many.
        vault: of the store.
        audit: records each piece in its transaction.
        hasher: of the deletion log.

    Raises:
        BackupError: the export does not check out, or is of a version of which no bundle is there; nothing is stored.
        RestoreRefusedError: a subject or a template is there already, or the export is older than the deletion log:
            nothing is stored, unless a service has enrolled the subject since.
    """
    with opened_archive(plan.archive, MANIFEST_NAME, ExportManifest) as (archive, manifest):
        _require_version(manifest, full_dims)
        if set(manifest.members) != {SUBJECTS_NAME, EMBEDDINGS_NAME, DELETIONS_NAME}:
            raise BackupError("The export names other files.", value=sorted(manifest.members), remedy=GET_ANOTHER)
        for name, member in manifest.members.items():
            copy_member(archive, name, member, None, advance)
        work = _Import(engine, plan, manifest, plan.tenant or manifest.tenant, vault, audit, hasher)
        with Session(engine) as session:
            if not plan.resurrect and not plan.deletions:
                require_younger(manifest.created_at, horizon_in(session))
            batches = _counted(batches_of(archive, manifest), manifest, progress)
            require_room(session, plan, work.tenant, manifest, batches, lambda: work.deletions(archive))
        report = work.new_report()
        for deletions in in_chunks(work.deletions(archive)):
            report.add(work.honour([deletion.template_id for deletion in deletions], deletions))
        with Session(engine) as session:
            living = living_deletions(session)  # what the store's own log names
        for template_ids in in_chunks(living):
            report.add(work.honour(template_ids))
        for lines, rows in _counted(batches_of(archive, manifest), manifest, progress):
            report.add(work.store(lines, rows))
        finish_erasures(engine, vault)
    return report


def _counted(
    batches: Iterator[tuple[list[SubjectLine], FloatArray]], manifest: ExportManifest, progress: Advance
) -> Iterator[tuple[list[SubjectLine], FloatArray]]:
    """The same, told to the progress bar when the next is asked for."""
    done = 0
    for lines, rows in batches:
        yield lines, rows
        done += len(rows)
        progress(done, manifest.templates)


def _require_version(manifest: ExportManifest, full_dims: Mapping[tuple[str, str], int]) -> None:
    full_dim = full_dims.get((manifest.model, manifest.version))
    if full_dim is None:
        known = ", ".join(f"{model} {version}" for model, version in sorted(full_dims)) or "none"
        raise BackupError(
            f"The export is of {manifest.model} {manifest.version}, of which no bundle is here; there are: {known}.",
            remedy="Put that bundle into the models folder; templates of another version cannot be compared.",
        )
    if manifest.full_dim != full_dim:
        raise BackupError(
            f"Embeddings of {manifest.model} have {full_dim} components.", value=manifest.full_dim, remedy=GET_ANOTHER
        )
