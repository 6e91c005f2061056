import numpy as np
import pytest

from matchka.store.integrity.packed_bytes import PackedBytes, packed

STRINGS = [b"\x00abc", b"de\x00\x00", b"\xff\xfe\xfd\xfc"]


def test_strings_of_one_length_when_packed_look_like_a_list_of_them():
    found = packed(STRINGS)
    assert found is not None
    assert (len(found), list(found), found[1], found[-1]) == (3, STRINGS, STRINGS[1], STRINGS[2])
    assert list(found[1:]) == STRINGS[1:]
    np.testing.assert_array_equal(found.array, [[0, 97, 98, 99], [100, 101, 0, 0], [255, 254, 253, 252]])
    assert packed(found) is found


def test_columns_of_another_array_when_they_are_not_contiguous_are_the_same_strings():
    whole = np.frombuffer(b"xx\x00abcyyxxde\x00\x00yy", np.uint8).reshape(2, 8)
    assert list(PackedBytes(whole[:, 2:6])) == [b"\x00abc", b"de\x00\x00"]


@pytest.mark.parametrize("strings", [[], [b""], [b"ab", b"a"]], ids=["none", "empty", "of two lengths"])
def test_strings_that_fill_no_rectangle_are_not_packed(strings: list[bytes]):
    assert packed(strings) is None
