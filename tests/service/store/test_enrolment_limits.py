"""What an enrolment may add: to whom, and up to how many; refused whole, within its transaction."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from matchka.errors import (
    AlreadyEnrolledError,
    MissingScopeError,
    NotEnrolledError,
    QuotaReachedError,
    UnknownSubjectError,
)
from matchka.store.enrolment_limits import EnrolmentLimits, Mode
from matchka.store.store import Store, opened_store
from tests.factories.databases import UnderTest
from tests.factories.unit_vectors import unit_vectors


@pytest.fixture
def store(database: UnderTest) -> Iterator[Store]:
    with opened_store(database.url) as opened:
        yield opened


def add(store: Store, subject: str, seed: int, limits: EnrolmentLimits, count: int = 1, model: str = "voice") -> int:
    rows = unit_vectors(count, seed, dim=8)
    return store.add_templates("t", subject, model, "1", rows, limits=limits).reference.template_count


def test_subject_with_templates_of_the_model_gets_no_more_without_the_right_to_append(store: Store):
    limits = EnrolmentLimits(may_append=False)
    assert add(store, "ada", 1, limits, 3) == 3
    with pytest.raises(MissingScopeError) as refused:
        add(store, "ada", 2, limits)
    assert refused.value.value == "append"
    assert add(store, "ada", 3, limits, model="face") == 1  # of this model it has none
    assert add(store, "ada", 4, EnrolmentLimits()) == 4


def test_templates_of_a_subject_are_bounded_over_all_models(store: Store):
    limits = EnrolmentLimits(max_templates=3)
    add(store, "ada", 1, limits, 2)
    add(store, "ada", 2, limits, 1, "face")
    with pytest.raises(QuotaReachedError):
        add(store, "ada", 3, limits)
    with pytest.raises(QuotaReachedError):
        add(store, "ben", 4, limits, 4)
    assert len(store.subject("t", "ada").templates) == 3
    assert [one.subject_id for one in store.subjects("t", 9, None)] == ["ada"]


def test_subjects_of_a_tenant_are_bounded_and_those_that_are_there_may_have_more(store: Store):
    limits = EnrolmentLimits(max_subjects=2)
    store.add_templates("other", "eve", "voice", "1", unit_vectors(1, 9, dim=8))  # another tenant's do not count
    add(store, "ada", 1, limits)
    add(store, "ben", 2, limits)
    with pytest.raises(QuotaReachedError):
        add(store, "cyd", 3, limits)
    assert add(store, "ben", 4, limits) == 2
    store.delete_subject("t", "ada")
    add(store, "cyd", 5, limits)


def test_of_many_enrolments_at_once_no_more_than_the_quota_succeed(store: Store):
    def enrol(seed: int) -> bool:
        try:
            add(store, f"s{seed}", seed, EnrolmentLimits(max_subjects=5))
        except QuotaReachedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(enrol, range(16))) == 5
    assert len(store.subjects("t", 99, None)) == 5


def test_mode_says_whether_the_subject_must_have_templates_of_the_model(store: Store):
    create, append = (EnrolmentLimits(mode=mode) for mode in ("create", "append"))
    with pytest.raises(UnknownSubjectError):
        add(store, "ada", 1, append)
    assert store.subjects("t", 9, None) == []
    assert add(store, "ada", 1, create) == 1
    with pytest.raises(AlreadyEnrolledError) as refused:
        add(store, "ada", 2, create)
    assert refused.value.value == "ada"
    with pytest.raises(NotEnrolledError):  # it is there, but with another model
        add(store, "ada", 3, append, model="face")
    assert add(store, "ada", 4, append) == 2
    assert add(store, "ada", 5, create, model="face") == 1


@pytest.mark.parametrize("mode", ["create", "append", "create_or_append"])
def test_without_the_right_to_append_a_subject_that_is_there_is_refused_in_every_mode(store: Store, mode: Mode):
    add(store, "ada", 1, EnrolmentLimits())
    with pytest.raises(MissingScopeError):
        add(store, "ada", 2, EnrolmentLimits(may_append=False, mode=mode))


def test_templates_of_another_version_count_as_templates_of_the_model(store: Store):
    add(store, "ada", 1, EnrolmentLimits())
    rows = unit_vectors(1, 2, dim=8)
    with pytest.raises(AlreadyEnrolledError):
        store.add_templates("t", "ada", "voice", "2", rows, limits=EnrolmentLimits(mode="create"))
    assert store.add_templates("t", "ada", "voice", "2", rows, limits=EnrolmentLimits(mode="append")).template_ids
