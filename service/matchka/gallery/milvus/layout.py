"""How references lie in collections of Milvus: names, fields, and which of them a search asks."""

import hashlib
import json
import secrets
import time
from typing import Final

import numpy as np
import numpy.typing as npt

from matchka.gallery.gallery import GallerySpace
from matchka.vectors import FloatArray, truncate_and_normalise_or_zero

KEY: Final = "subject_key"  # primary key: subjects of all tenants have different ones
TENANT: Final = "tenant"  # partition key
# A collection has four vector fields at most, as servers are configured by default.
PREFIX_DIMS: Final = (64, 32, 16)
FULL: Final = "full"
SHORTLIST: Final = 512  # rows compared exactly, at dims without a field of their own
SHORTLIST_PER_CANDIDATE: Final = 2
MOST_FOUND: Final = 16_384  # of one search: a server refuses more
ABANDONED_S: Final = 86_400  # a generation that is not finished after a day is never going to be
DIGITS: Final = 16


def new_generation(prefix: str, space: GallerySpace) -> str:
    """The name of a collection that no other process fills: letters, digits and underscores."""
    return f"{space_name(prefix, space)}_{int(time.time())}_{secrets.token_hex(4)}"


def is_abandoned(generation: str) -> bool:
    """Whether whoever began to fill a collection has given up, by the clock of the machine.

    >>> is_abandoned("matchka_g_5d1c9e5d3f6c2b1a_1700000000_0badcafe")
    True
    """
    began = generation.split("_")[-2]
    return began.isdigit() and time.time() - int(began) > ABANDONED_S


def space_name(prefix: str, space: GallerySpace) -> str:
    """What the names of all collections of a space begin with.

    >>> space_name("matchka", GallerySpace("voice", "1", (), 256))
    'matchka_g_af444591cff914a6'
    """
    what = json.dumps([space.model, space.version, list(space.newer), space.full_dim])
    return f"{prefix}_g_{hashlib.sha256(what.encode()).hexdigest()[:DIGITS]}"


def fields_of(full_dim: int) -> dict[int, str]:
    """Vector fields by their dims, the full one first: searches at these dims are Milvus' own work alone.

    >>> fields_of(128), fields_of(16)
    ({128: 'full', 64: 'prefix_64', 32: 'prefix_32', 16: 'prefix_16'}, {16: 'full'})
    """
    return {full_dim: FULL, **{dim: f"prefix_{dim}" for dim in PREFIX_DIMS if dim < full_dim}}


def shortlisting_dim(full_dim: int, dim: int) -> int:
    """The field by which candidates for a dim without one are found: the next smaller, or else the smallest.

    >>> shortlisting_dim(256, 128), shortlisting_dim(256, 8)
    (64, 16)
    """
    known = fields_of(full_dim)
    return max((one for one in known if one <= dim), default=min(known))


def shortlist_for(top_k: int) -> int:
    """Rows that are compared exactly for so many candidates.

    >>> shortlist_for(5), shortlist_for(1_000), shortlist_for(10_000)
    (512, 2000, 16384)
    """
    return min(MOST_FOUND, max(SHORTLIST, SHORTLIST_PER_CANDIDATE * top_k))


def rows_of(tenant: str, keys: npt.NDArray[np.int64], references: FloatArray, full_dim: int) -> list[dict[str, object]]:
    """Entities: each reference at every dim that has a field, of unit length there, or zero.

    Args:
        tenant: whose.
        keys: (subjects,).
        references: float32, (subjects, full_dim); rows need not be unit length.
        full_dim: of the space.
    """
    columns = {name: truncate_and_normalise_or_zero(references, dim) for dim, name in fields_of(full_dim).items()}
    return [
        {KEY: key, TENANT: tenant, **{name: column[place] for name, column in columns.items()}}
        for place, key in enumerate(keys.tolist())
    ]


def of_tenant(tenant: str) -> str:
    """A filter of Milvus.

    >>> print(of_tenant("default"))
    tenant == "default"
    """
    return f"{TENANT} == {json.dumps(tenant, ensure_ascii=False)}"
