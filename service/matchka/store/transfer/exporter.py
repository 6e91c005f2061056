"""Exports: the templates of one tenant, model and version in a documented format, for any database."""

import logging
from collections.abc import Collection
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from matchka.errors import BackupError
from matchka.store.deletions import deletions_in
from matchka.store.integrity.digest import LITTLE_ENDIAN_FLOAT32
from matchka.store.integrity.stored_embeddings import require_digest
from matchka.store.rights.given_terms import LONGEST_TERM
from matchka.store.rights.terms import open_terms, terms_binding
from matchka.store.schema import LONGEST_SUBJECT_ID, TEMPLATE_ID, SubjectRow, TemplateRow, TermsRow
from matchka.store.transfer.archive import Advance, ArchiveManifest, ArchiveWriter, new_archive
from matchka.store.transfer.deletions_file import line_of
from matchka.store.vault.sealed import Binding
from matchka.store.vault.subject_keys import subjects_without_key
from matchka.store.vault.vault import CLEAR, Vault

MANIFEST_NAME: Final = "export.json"
SUBJECTS_NAME: Final = "subjects.jsonl"
EMBEDDINGS_NAME: Final = "embeddings.npy"
DELETIONS_NAME: Final = "deletions.jsonl"
LOGGER: Final = logging.getLogger("matchka.store")
ROWS_AT_ONCE: Final = 4_096
MOST_ROWS: Final = 1_000_000  # of a template; what databases hold has to take the sum over a subject's

Format: TypeAlias = Literal["matchka-export-1", "matchka-export-2", "matchka-export-3", "matchka-export-4"]
SelectT = TypeVar("SelectT", bound="Select[*tuple[Any, ...]]")


class ExportManifest(ArchiveManifest):
    """export.json.

    Attributes:
        format: of the archive.
        created_at: when the state was read.
        tenant: whose they were.
        model: the bundle's name.
        version: the bundle's version.
        full_dim: components of an embedding.
        subjects, templates, deletions: lines and rows.
    """

    format: Format
    created_at: AwareDatetime
    tenant: str = Field(max_length=64)
    model: str
    version: str
    full_dim: int = Field(ge=1)
    subjects: int = Field(ge=0)
    templates: int = Field(ge=0)
    deletions: int = Field(ge=0)


class TemplateEntry(BaseModel):
    """A template of a subject's line. Exports of format 1 know no numbers of rows, those of format 2 no conditions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template_id: str = Field(pattern=f"^{TEMPLATE_ID}$")
    created_at: AwareDatetime
    row_count: int | None = Field(default=None, ge=1, le=MOST_ROWS)
    condition: float | None = Field(default=None, allow_inf_nan=False, exclude_if=lambda value: value is None)


class TermsEntry(BaseModel):
    """The terms of a subject's line; exports before format 4 know none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    consent: str | None = Field(default=None, max_length=LONGEST_TERM)
    purpose: str | None = Field(default=None, max_length=LONGEST_TERM)
    expires_at: AwareDatetime | None = None
    metadata: dict[str, str | int | float] = Field(default_factory=dict)


class SubjectLine(BaseModel):
    """A line of subjects.jsonl; its templates are the next rows of embeddings.npy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject_id: str = Field(max_length=LONGEST_SUBJECT_ID)
    created_at: AwareDatetime
    templates: tuple[TemplateEntry, ...] = Field(min_length=1)
    terms: TermsEntry | None = Field(default=None, exclude_if=lambda value: value is None)


def write_export(
    session: Session,
    target: Path,
    tenant: str,
    model: str,
    version: str,
    progress: Advance,
    vault: Vault = CLEAR,
) -> ExportManifest:
    """Write an export: its embeddings are in clear, whatever the store's are. Who has no key any more is left out.

    Args:
        session: one state of the store (matchka.store.engine.reading).
        target: the archive; it appears when it is whole.
        tenant: whose templates.
        model: the bundle's name.
        version: the bundle's version.
        progress: called with the templates written, of how many.
        vault: of the store.

    Raises:
        BackupError: there is nothing to export, or the archive cannot be written.
        StorageDamagedError: a template is not what was stored.
    """
    unreadable = frozenset(subjects_without_key(session, vault))
    if unreadable:
        LOGGER.warning("%d subjects whose keys were destroyed are left out of the export", len(unreadable))
    binding = Binding(tenant, model, version)
    with new_archive(target) as (writer, _):
        subjects, templates, least = _write_subjects(writer, session, binding, unreadable, vault)
        if not templates:
            raise BackupError(
                f"The tenant {tenant} has no templates of {model} {version}.",
                remedy="See `matchka gallery status` for what there is.",
            )
        full_dim = _write_embeddings(writer, session, binding, unreadable, templates, progress, vault)
        deletions = 0
        with writer.member(DELETIONS_NAME) as append:
            for deletion in deletions_in(session):
                if deletion.tenant == tenant:
                    append(line_of(deletion))
                    deletions += 1
        manifest = ExportManifest(
            # what earlier releases read stays so; they read no deletion log without subjects
            format="matchka-export-4" if deletions else least,
            created_at=datetime.now(UTC),
            tenant=tenant,
            model=model,
            version=version,
            full_dim=full_dim,
            subjects=subjects,
            templates=templates,
            deletions=deletions,
            members=writer.members,
        )
        writer.finish(MANIFEST_NAME, manifest)
    return manifest


def _write_subjects(
    writer: ArchiveWriter, session: Session, binding: Binding, unreadable: Collection[int], vault: Vault
) -> tuple[int, int, Format]:
    """Numbers of subjects and templates, and the first format that has all that is told of them."""
    query = select(
        SubjectRow.key,
        SubjectRow.subject_id,
        SubjectRow.created_at.label("since"),
        SubjectRow.expires_at,
        TermsRow.content,
        TemplateRow.template_id,
        TemplateRow.created_at,
        TemplateRow.row_count,
        TemplateRow.condition,
    )
    query = _of(query, binding).outerjoin(TermsRow, TermsRow.subject_key == SubjectRow.key)
    found = session.execute(query).yield_per(ROWS_AT_ONCE)
    rows = (row for row in found if row.key not in unreadable)
    subjects = templates = 0
    least: Format = "matchka-export-2"
    with writer.member(SUBJECTS_NAME) as append:
        for key, grouped in groupby(rows, key=lambda row: row.key):
            subject, *others = grouped
            entries = tuple(
                TemplateEntry(
                    template_id=row.template_id,
                    created_at=row.created_at,
                    row_count=row.row_count,
                    condition=row.condition,
                )
                for row in (subject, *others)
            )
            terms = None
            if subject.content is not None or subject.expires_at is not None:
                held = subject.content and open_terms(vault, subject.content, terms_binding(key, binding.tenant))
                terms = TermsEntry(expires_at=subject.expires_at, **(held or {}))
            line = SubjectLine(subject_id=subject.subject_id, created_at=subject.since, templates=entries, terms=terms)
            append(line.model_dump_json().encode() + b"\n")
            subjects += 1
            templates += len(entries)
            if terms is not None:
                least = "matchka-export-4"
            elif least == "matchka-export-2" and any(entry.condition is not None for entry in entries):
                least = "matchka-export-3"
    return subjects, templates, least


def _write_embeddings(
    writer: ArchiveWriter,
    session: Session,
    binding: Binding,
    unreadable: Collection[int],
    templates: int,
    progress: Advance,
    vault: Vault,
) -> int:
    columns = (TemplateRow.subject_key, TemplateRow.template_id, TemplateRow.embedding, TemplateRow.digest)
    query = _of(select(*columns), binding)
    full_dim = done = 0
    with writer.member(EMBEDDINGS_NAME) as append:
        for found in session.execute(query).yield_per(ROWS_AT_ONCE).partitions():
            rows = [row for row in found if row.subject_key not in unreadable]
            for row in rows:
                require_digest(row.embedding, row.digest, f"template {row.template_id}")
            stored = [row.embedding for row in rows]
            bindings = [binding.of_template(row.subject_key, row.template_id) for row in rows]
            for row, plain in zip(rows, vault.opener(stored).open(stored, bindings), strict=True):
                if not done:
                    full_dim = len(plain) // LITTLE_ENDIAN_FLOAT32.itemsize
                    append(npy_header(templates, full_dim))
                if len(plain) != full_dim * LITTLE_ENDIAN_FLOAT32.itemsize:
                    raise BackupError(
                        "Templates of one version have several sizes.",
                        value=row.template_id,
                        remedy="Run `matchka gallery verify`, and restore a backup.",
                    )
                append(plain)
                done += 1
            progress(done, templates)
    return full_dim


def npy_header(rows: int, columns: int) -> bytes:
    """The start of a NumPy file of little-endian float32, (rows, columns).

    >>> len(npy_header(5, 3)) % 64
    0
    """
    text = f"{{'descr': '{LITTLE_ENDIAN_FLOAT32.str}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}"
    padding = -(len(np.lib.format.MAGIC_PREFIX) + 4 + len(text) + 1) % np.lib.format.ARRAY_ALIGN
    header = text.encode("latin1") + b" " * padding + b"\n"
    return np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header


def _of(query: SelectT, binding: Binding) -> SelectT:
    """A query of templates and their subjects, of one tenant, model and version, in the order of an export."""
    return (
        query.join_from(TemplateRow, SubjectRow, SubjectRow.key == TemplateRow.subject_key)
        .where(
            SubjectRow.tenant == binding.tenant,
            TemplateRow.model == binding.model,
            TemplateRow.version == binding.version,
        )
        .order_by(SubjectRow.key, TemplateRow.created_at, TemplateRow.template_id)
    )
