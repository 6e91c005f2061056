"""Which collections hold the galleries: a small collection beside them, which every process reads and writes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from matchka.gallery.gallery import GallerySpace
from matchka.gallery.milvus.connection import MilvusConnection
from matchka.gallery.milvus.layout import KEY, TENANT, fields_of, is_abandoned, new_generation, space_name

if TYPE_CHECKING:
    from pymilvus import MilvusClient

STRONG: Final = "Strong"  # below it a search may show what was deleted before it began
NAME_BYTES: Final = 512
POSITION_BYTES: Final = 65_535  # a position of a store with very many open transactions is refused, not cut
UNUSED: Final = "unused"  # a collection without a vector is refused
FLAT: Final = "FLAT"
MAKING_FACTOR: Final = 12  # as long as other calls: to make, load or drop a collection is more work than they are
# By the setting: what an index of vectors is made with. Only the first compares every reference.
INDEXES: Final[dict[str, dict[str, Any]]] = {
    "flat": {"index_type": FLAT, "metric_type": "IP", "params": {}},
    "hnsw": {"index_type": "HNSW", "metric_type": "IP", "params": {"M": 32, "efConstruction": 256}},
}


@dataclass(frozen=True)
class Generation:
    """A collection that is filled. Attributes: position: of the store, whose changes until then are in it."""

    name: str
    serial: int
    position: str


class GenerationRegistry:
    """Generations of galleries. Of a space, that with the highest serial is the current one.

    To switch is to write one row: a process that still follows the one before changes only that one's row.

    Args:
        connection: to Milvus.
        prefix: that all names begin with; a store has one of its own.
        index: a key of INDEXES.
    """

    def __init__(self, connection: MilvusConnection, prefix: str, index: str) -> None:
        self._connection = connection
        self._prefix = prefix
        self._index = INDEXES[index]
        self._name = f"{prefix}_generations"
        self._loaded: set[str] = set()
        connection.write(self._make_own)

    def current(self, spaces: list[GallerySpace]) -> dict[GallerySpace, Generation]:
        """The current generations of those spaces that have one.

        Raises: GalleryUnavailableError: Milvus does not answer; then searches are refused until it does.
        """
        names = {space_name(self._prefix, space): space for space in spaces}
        quoted = ", ".join(f'"{name}"' for name in names)

        def ask(client: "MilvusClient", limit_s: float) -> list[dict[str, Any]]:
            if self._connection.is_refusing:  # a server that was started again may have let go of what was loaded
                for name in (self._name, *sorted(self._loaded)):
                    _load(client, limit_s, name)
            rows: list[dict[str, Any]] = client.query(
                self._name,
                filter=f"space in [{quoted}]",
                output_fields=["generation", "space", "serial", "position"],
                consistency_level=STRONG,
                timeout=limit_s,
            )
            return rows

        rows = self._connection.watch(ask)
        found: dict[GallerySpace, Generation] = {}
        for row in sorted(rows, key=lambda row: (row["serial"], row["generation"])):
            found[names[row["space"]]] = Generation(row["generation"], row["serial"], row["position"])
        return found

    def make(self, space: GallerySpace) -> str:
        """Make an empty collection, which nobody else sees. Returns: its name."""
        name = new_generation(self._prefix, space)
        self._connection.write(lambda client, limit_s: self._make(client, MAKING_FACTOR * limit_s, name, space))
        self._loaded.add(name)
        return name

    def load(self, name: str) -> bool:
        """Have a collection searchable, where it is not. Returns: whether it exists."""
        self._loaded.add(name)
        return self._connection.write(lambda client, limit_s: _load(client, limit_s, name))

    def write(self, space: GallerySpace, generation: Generation) -> None:
        """Say how far a generation follows the store; the one with the highest serial is current from then on."""
        row = {
            "generation": generation.name,
            "space": space_name(self._prefix, space),
            "serial": generation.serial,
            "position": generation.position,
            UNUSED: [1.0, 0.0],
        }
        self._connection.write(lambda client, limit_s: client.upsert(self._name, [row], timeout=limit_s))

    def drop(self, name: str) -> None:
        """Remove a collection, and what is known of it."""

        def drop(client: "MilvusClient", limit_s: float) -> None:
            client.delete(self._name, ids=[name], timeout=limit_s)  # first: nobody shall find what is being removed
            if client.has_collection(name, timeout=limit_s):
                client.drop_collection(name, timeout=MAKING_FACTOR * limit_s)

        self._connection.write(drop)
        self._loaded.discard(name)

    def superseded(self, space: GallerySpace, current: Generation) -> list[str]:
        """Collections of a space that nobody needs once all follow the current one: earlier ones, abandoned ones."""
        start = f"{space_name(self._prefix, space)}_"
        names, serials = self._all()
        # of two that were finished at once the higher name wins, and both processes see it so
        earlier = {name for name, serial in serials.items() if (serial, name) < (current.serial, current.name)}
        return [name for name in names if name.startswith(start) and name in earlier | _abandoned(names, serials)]

    def leftovers(self, spaces: list[GallerySpace]) -> list[str]:
        """Collections of other spaces than these: of bundles that are not served any more."""
        starts = tuple(f"{space_name(self._prefix, space)}_" for space in spaces)
        names, serials = self._all()
        others = [name for name in names if name.startswith(f"{self._prefix}_g_") and not name.startswith(starts)]
        return [name for name in others if name in serials.keys() | _abandoned(names, serials)]

    def _all(self) -> tuple[list[str], dict[str, int]]:
        """Every collection, and the serials of those that are filled."""

        def find(client: "MilvusClient", limit_s: float) -> tuple[list[str], dict[str, int]]:
            rows = client.query(
                self._name,
                filter="serial >= 0",
                output_fields=["generation", "serial"],
                consistency_level=STRONG,
                timeout=limit_s,
            )
            names = client.list_collections(timeout=limit_s)
            return sorted(names), {row["generation"]: row["serial"] for row in rows}

        return self._connection.write(find)

    def _make_own(self, client: "MilvusClient", limit_s: float) -> None:
        from pymilvus import DataType, MilvusException

        if _load(client, limit_s, self._name):
            return
        schema = client.create_schema(auto_id=False)
        schema.add_field("generation", DataType.VARCHAR, is_primary=True, max_length=NAME_BYTES)
        schema.add_field("space", DataType.VARCHAR, max_length=NAME_BYTES)
        schema.add_field("serial", DataType.INT64)
        schema.add_field("position", DataType.VARCHAR, max_length=POSITION_BYTES)
        schema.add_field(UNUSED, DataType.FLOAT_VECTOR, dim=2)
        try:
            self._create(client, MAKING_FACTOR * limit_s, self._name, schema, {UNUSED: INDEXES["flat"]})
        except MilvusException:
            if not _load(client, limit_s, self._name):  # else another process was faster
                raise

    def _make(self, client: "MilvusClient", limit_s: float, name: str, space: GallerySpace) -> None:
        from pymilvus import DataType

        schema = client.create_schema(auto_id=False)
        schema.add_field(KEY, DataType.INT64, is_primary=True)
        schema.add_field(TENANT, DataType.VARCHAR, max_length=NAME_BYTES, is_partition_key=True)
        for dim, field in fields_of(space.full_dim).items():
            schema.add_field(field, DataType.FLOAT_VECTOR, dim=dim)
        self._create(client, limit_s, name, schema, dict.fromkeys(fields_of(space.full_dim).values(), self._index))

    def _create(
        self, client: "MilvusClient", limit_s: float, name: str, schema: Any, indexes: dict[str, dict[str, Any]]
    ) -> None:
        params = client.prepare_index_params()
        for field, index in indexes.items():
            params.add_index(field, **index)
        client.create_collection(name, schema=schema, index_params=params, consistency_level=STRONG, timeout=limit_s)


def _load(client: "MilvusClient", limit_s: float, name: str) -> bool:
    is_there = bool(client.has_collection(name, timeout=limit_s))
    if is_there:
        client.load_collection(name, timeout=MAKING_FACTOR * limit_s)
    return is_there


def _abandoned(names: list[str], serials: dict[str, int]) -> set[str]:
    return {name for name in names if name not in serials and "_g_" in name and is_abandoned(name)}
