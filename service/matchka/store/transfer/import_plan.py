"""What to import and how, and what an import did."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from matchka.store.deletions import Deletion
from matchka.store.transfer.exporter import ExportManifest

Existing: TypeAlias = Literal["fail", "skip", "replace"]


@dataclass(frozen=True)
class ImportPlan:
    """What to import, and how.

    Attributes:
        archive: the export.
        tenant: whose it becomes; the one that it names where None.
        existing: what to do with a subject that has other templates of this model and version already.
        resurrect: whether templates come back that a deletion log calls deleted.
        deletions: of another deletion log, to be respected besides those of the store and of the export.
    """

    archive: Path
    tenant: str | None = None
    existing: Existing = "fail"
    resurrect: bool = False
    deletions: tuple[Deletion, ...] = ()


@dataclass
class ImportReport:
    """What an import did.

    Attributes:
        manifest: of the export.
        tenant: whose it became.
        subjects: stored.
        templates: stored.
        skipped: subjects that were left with the templates that they had.
        replaced: subjects whose templates were replaced.
        present: subjects that had exactly these templates already, and were left.
        kept_out: templates that a deletion log names.
        removed: templates of the store that the deletion logs brought along name.
    """

    manifest: ExportManifest
    tenant: str
    subjects: int = 0
    templates: int = 0
    skipped: int = 0
    replaced: int = 0
    present: int = 0
    kept_out: int = 0
    removed: int = 0

    def add(self, piece: "ImportReport") -> None:
        """Count what a piece did, too."""
        for name in ("subjects", "templates", "skipped", "replaced", "present", "kept_out", "removed"):
            setattr(self, name, getattr(self, name) + getattr(piece, name))
