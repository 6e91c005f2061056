"""What the CPU is called and can do, as the system lists it."""

from pathlib import Path

import pytest

from matchka.inference.graphs.cpu import CPU_INFO, cpu_features, cpu_model

ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU part\t: 0xd0c\n"
TWO_KINDS = "flags\t\t: sse2 avx2 avx_vnni\n\nflags\t\t: sse2 avx2\n"


def test_features_of_cores_of_two_kinds_are_those_of_all_cores() -> None:
    assert cpu_features(TWO_KINDS) == {"sse2", "avx2"}


@pytest.mark.parametrize("info", ["", ARM])
def test_features_where_the_system_lists_none_by_this_name_are_none(info: str) -> None:
    assert cpu_features(info) == frozenset()


def test_model_where_the_system_does_not_name_it_is_not_empty() -> None:
    assert cpu_model("")


@pytest.mark.skipif(not CPU_INFO.is_file(), reason="only Linux lists its CPUs there")
def test_features_of_this_machine_are_among_the_words_of_its_list() -> None:
    assert cpu_features() <= set(Path(CPU_INFO).read_text().split())
