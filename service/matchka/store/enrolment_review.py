"""What judges new templates within the transaction that stores them: nothing is committed between look and commit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from matchka.errors import MatchkaError
from matchka.store.duplicates import copies_among, duplicate_of
from matchka.store.records import Reference, StoredEmbedding

# (what the subject has, the new ones by their place) -> why some of the new ones are refused, by their place
Compare: TypeAlias = Callable[[Sequence[StoredEmbedding], Mapping[int, StoredEmbedding]], Mapping[int, MatchkaError]]


def _agree_always(_held: Sequence[StoredEmbedding], _new: Mapping[int, StoredEmbedding]) -> Mapping[int, MatchkaError]:
    return {}


def _accept_always(_reference: Reference) -> None:
    return None


@dataclass(frozen=True)
class Files:
    """The files of a call that new templates are made of.

    Attributes:
        numbers: of each template the place of its file in the call, from 1.
        total: files in the call.
    """

    numbers: Sequence[int]
    total: int

    def name(self, place: int) -> str:
        """What an error calls the file of a template.

        >>> Files((1, 3), 3).name(1)
        'File 3 of 3'
        """
        return f"File {self.numbers[place]} of {self.total}"


@dataclass(frozen=True)
class Review:
    """Looks at an enrolment before it is committed.

    Attributes:
        files: that the templates are made of; all of the call's where None.
        compare: new templates with those of the same version that the subject has, and with each other.
        accept: raises where the reference that they make may not be stored.
        is_exclusive: whether it accepts while no other review of the same tenant and model does: of two that look at
            once, neither would see what the other one stores.
        skips: whether those that are refused are left out; otherwise the first of them refuses all.
    """

    files: Files | None = None
    compare: Compare = _agree_always
    accept: Callable[[Reference], None] = _accept_always
    is_exclusive: bool = False
    skips: bool = False

    def refused(
        self, templates: Mapping[str, StoredEmbedding], new: Sequence[str], subject_id: str
    ) -> dict[int, MatchkaError]:
        """Those of the new templates that are not to be stored, by their place, and why.

        Args:
            templates: id -> template: all of a subject's of one version.
            new: ids of those among them that are to be added, in the order of their files.
            subject_id: whose.

        Raises: MatchkaError: none are left, or some are refused and nothing is skipped.
        """
        files = self.files or Files(range(1, len(new) + 1), len(new))
        copies = copies_among({one: template.vector for one, template in templates.items()}, new)
        found: dict[int, MatchkaError] = {place: duplicate_of(files.name(place), subject_id) for place in copies}
        if found and not self.skips:
            raise found[min(found)]
        held = [template for one, template in templates.items() if one not in new]
        found |= self.compare(held, {place: templates[one] for place, one in enumerate(new) if place not in found})
        if found and (not self.skips or len(found) == len(new)):
            error = _telling(found, self.skips)
            error.of_files = {files.numbers[place]: one for place, one in found.items()} if self.skips else {}
            raise error
        return found


def _telling(found: Mapping[int, MatchkaError], tells_all: bool) -> MatchkaError:
    """The first of several refusals, first of all one that tells something about a subject: it has to count."""
    _, error = min(found.items(), key=lambda one: (-one[1].failed_tries, one[0]))
    if tells_all:  # that not one was stored says of every file that it was refused
        error.failed_tries = sum(one.failed_tries for one in found.values())
    return error


NO_REVIEW: Final = Review()
