"""A piece of an import: some subjects of an export, stored in one transaction."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from matchka.errors import RestoreRefusedError
from matchka.store.deletions import deleted_among, in_chunks, note_deletions
from matchka.store.feed.changes import note_changes
from matchka.store.integrity.digest import LITTLE_ENDIAN_FLOAT32, digests
from matchka.store.integrity.stored_embeddings import to_bytes
from matchka.store.queries import lowest_condition, total_rows
from matchka.store.rights.terms import Terms, write_terms
from matchka.store.schema import ReferenceRow, SubjectRow, TemplateRow
from matchka.store.subject_hash import SubjectHasher
from matchka.store.transfer.exporter import SubjectLine
from matchka.store.transfer.import_plan import ImportPlan, ImportReport
from matchka.store.vault.sealed import Binding
from matchka.store.vault.subject_keys import give_key
from matchka.store.vault.vault import Plain, Vault
from matchka.vectors import FloatArray, mean_reference


@dataclass
class ImportPiece:
    """State of one piece.

    Attributes:
        session: its transaction.
        plan: what and how.
        report: of this piece alone.
        vault: of the store.
        made: the ids of keys that it makes.
        hasher: of the deletion log.
        now: when what it replaces is deleted.
    """

    session: Session
    plan: ImportPlan
    report: ImportReport
    vault: Vault
    made: list[bytes]
    hasher: SubjectHasher | None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def add(self, lines: list[SubjectLine], rows: FloatArray) -> None:
        """Store some subjects; `rows` are their templates', one after the other."""
        starts = np.cumsum([0, *(len(line.templates) for line in lines)]).tolist()
        known = self._known(lines)
        dead = self._dead(lines)
        wanted: list[tuple[SubjectLine, list[int], FloatArray]] = []
        for line, start in zip(lines, starts, strict=False):
            living = [n for n, entry in enumerate(line.templates) if entry.template_id not in dead]
            self.report.kept_out += len(line.templates) - len(living)
            if living and (line.subject_id not in known or self._may_take(known[line.subject_id], line, living)):
                wanted.append((line, living, rows[start + np.asarray(living)]))
        new = {line.subject_id: self._new_subject(line) for line, _, _ in wanted if line.subject_id not in known}
        self._give_keys(list(new.values()))
        self.session.add_all(new.values())
        self.session.flush()  # where an enrolment has made one of them meanwhile, the import is repeated
        try:
            subjects = known | new
            for line, _, _ in wanted:
                if line.subject_id in known:
                    give_key(self.session, self.vault, known[line.subject_id], self.made, self.hasher)
            for line, _, _ in wanted:
                if line.terms is not None and (line.subject_id in new or self.plan.existing == "replace"):
                    terms = Terms(**dict(line.terms))
                    write_terms(self.session, self.vault, subjects[line.subject_id], terms)
            self.session.flush()
            if wanted:
                self._store([(subjects[line.subject_id], line, living, rows) for line, living, rows in wanted])
        except IntegrityError as error:
            raise RestoreRefusedError(
                "A template of this export is there already, of another subject or tenant; the subjects before it are "
                "imported.",
                value=error.orig,
                remedy="Delete it there, and import the export again.",
            ) from error
        self.session.expunge_all()

    def _give_keys(self, subjects: list[SubjectRow]) -> None:
        key_ids = self.vault.make_keys(self.report.tenant, len(subjects))
        for subject, key_id in zip(subjects, key_ids, strict=True):
            subject.key_id = key_id
        self.made += [key_id for key_id in key_ids if key_id is not None]

    def _new_subject(self, line: SubjectLine) -> SubjectRow:
        created_at = line.created_at.astimezone(UTC)
        return SubjectRow(tenant=self.report.tenant, subject_id=line.subject_id, created_at=created_at)

    def _known(self, lines: list[SubjectLine]) -> dict[str, SubjectRow]:
        found: dict[str, SubjectRow] = {}
        for chunk in in_chunks(line.subject_id for line in lines):
            query = select(SubjectRow).where(SubjectRow.tenant == self.report.tenant, SubjectRow.subject_id.in_(chunk))
            query = query.order_by(SubjectRow.key).with_for_update()  # enrolments of them wait until this ends
            found.update({row.subject_id: row for row in self.session.scalars(query)})
        return found

    def _dead(self, lines: list[SubjectLine]) -> set[str]:
        if self.plan.resurrect:
            return set()
        return deleted_among(self.session, (entry.template_id for line in lines for entry in line.templates))

    def _may_take(self, subject: SubjectRow, line: SubjectLine, living: list[int]) -> bool:
        """Whether a subject that is there gets the line's templates; makes room for them where they replace others."""
        mine = (
            TemplateRow.subject_key == subject.key,
            TemplateRow.model == self.report.manifest.model,
            TemplateRow.version == self.report.manifest.version,
        )
        held = set(self.session.scalars(select(TemplateRow.template_id).where(*mine)))
        if not held:
            return True
        if self.plan.existing == "fail" and held == {line.templates[place].template_id for place in living}:
            self.report.present += 1  # of an import that was cut short
            return False
        if self.plan.existing == "fail":
            raise RestoreRefusedError(
                "A subject was enrolled while the export was imported; those before it are imported.",
                value=subject.subject_id,
                remedy="Import the export again, with --existing skip or --existing replace.",
            )
        if self.plan.existing == "skip":
            self.report.skipped += 1
            return False
        self.report.replaced += 1
        coming = {entry.template_id for entry in line.templates}
        note_deletions(self.session, subject, sorted(held - coming), self.now, self.hasher)
        self.session.execute(delete(TemplateRow).where(*mine))
        self.session.execute(
            delete(ReferenceRow).where(
                ReferenceRow.subject_key == subject.key,
                ReferenceRow.model == self.report.manifest.model,
                ReferenceRow.version == self.report.manifest.version,
            )
        )
        return True

    def _store(self, wanted: list[tuple[SubjectRow, SubjectLine, list[int], FloatArray]]) -> None:
        """Store templates and their means; the subjects have no others of this model and version.

        The rows go past the objects that would give them their digests one by one: that took nearly twice as long.
        """
        of = {"model": self.report.manifest.model, "version": self.report.manifest.version}
        templates = [
            {
                "template_id": line.templates[place].template_id,
                "subject_key": subject.key,
                "created_at": line.templates[place].created_at.astimezone(UTC),
                "row_count": line.templates[place].row_count,
                "condition": line.templates[place].condition,
                **of,
            }
            for subject, line, living, _ in wanted
            for place in living
        ]
        vectors = np.concatenate([rows for _, _, _, rows in wanted])
        binding = Binding(self.report.tenant, of["model"], of["version"])
        owners = [subject for subject, _, living, _ in wanted for _ in living]
        bindings = [
            binding.of_template(subject.key, line.templates[place].template_id)
            for subject, line, living, _ in wanted
            for place in living
        ]
        self.session.execute(insert(TemplateRow), self._with_vectors(templates, vectors, owners, bindings))
        references = [
            {
                "subject_key": subject.key,
                "template_count": len(living),
                "row_count": total_rows(line.templates[place].row_count for place in living),
                "condition": lowest_condition(line.templates[place].condition for place in living),
                **of,
            }
            for subject, line, living, _ in wanted
        ]
        means = np.stack([mean_reference(rows) for _, _, _, rows in wanted])
        owners = [subject for subject, _, _, _ in wanted]
        bindings = [binding.of_reference(subject.key) for subject in owners]
        self.session.execute(insert(ReferenceRow), self._with_vectors(references, means, owners, bindings))
        note_changes(self.session, self.report.tenant, [subject.key for subject in owners], of["model"])
        self.report.subjects += len(wanted)
        self.report.templates += len(templates)

    def _with_vectors(
        self, rows: list[dict[str, Any]], vectors: FloatArray, owners: list[SubjectRow], bindings: list[bytes]
    ) -> list[dict[str, Any]]:
        """Rows with their embeddings as they are stored, and the digests of these bytes, which are of one length."""
        plain = [
            Plain(owner.key_id, binding, to_bytes(vector))
            for owner, binding, vector in zip(owners, bindings, vectors, strict=True)
        ]
        stored = self.vault.seal(plain)
        words = np.frombuffer(b"".join(stored), LITTLE_ENDIAN_FLOAT32).reshape(len(stored), -1)
        return [
            row | {"embedding": embedding, "digest": digest}
            for row, embedding, digest in zip(rows, stored, digests(words).tolist(), strict=True)
        ]
