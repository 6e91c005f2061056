"""Metrics of processes as plain values, and those of several processes added up."""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

# a family of metrics: its name, documentation and type, and of each sample the name, labels and value; as JSON has it
Family: TypeAlias = dict[str, Any]
Snapshot: TypeAlias = list[Family]

CREATED: Final = "_created"  # the end of a sample's name: when its counting began
LASTING: Final = ("counter", "histogram", "summary")  # what stays true of a process that has ended
# Gauges that are the same fact, seen by each process; all others are parts of a sum.
LARGEST: Final = frozenset(
    {
        "matchka_build_info",
        "matchka_bundle_info",
        "matchka_data_free_bytes",
        "matchka_draining",
        "matchka_feed_lag_seconds",
        "matchka_feed_pending_changes",
        "matchka_gallery_subjects",
        "process_max_fds",
        "process_virtual_memory_max_bytes",
    }
)
LEAST: Final = frozenset({"matchka_feed_position", "matchka_ready", "process_start_time_seconds"})


def merged(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The metrics of several processes as those of one.

    Counters and histograms are added up, and so are gauges, but for those that each process sees alike.

    >>> one = [{"name": "a", "documentation": "", "type": "counter", "samples": [["a_total", {"k": "x"}, 2.0]]}]
    >>> merged([one, one])[0]["samples"]
    [['a_total', {'k': 'x'}, 4.0]]
    """
    families: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for snapshot in snapshots:
        for family in snapshot:
            name: str = family["name"]
            families.setdefault(name, family)
            known = values.setdefault(name, {})
            for sample, labels, value in family["samples"]:
                key = (sample, tuple(labels.items()))
                known[key] = _joined(name, sample, [known[key], value]) if key in known else value
    return [
        {**family, "samples": [[sample, dict(labels), value] for (sample, labels), value in values[name].items()]}
        for name, family in families.items()
    ]


def lasting(snapshot: Snapshot) -> Snapshot:
    """What stays of the metrics of a process that has ended: what it counted, and nothing of its state."""
    return [family for family in snapshot if family["type"] in LASTING]


def total(snapshot: Snapshot, sample: str) -> float:
    """The sum of all samples of a name, whatever their labels."""
    values: list[float] = [value for family in snapshot for name, _, value in family["samples"] if name == sample]
    return sum(values)


def _joined(family: str, sample: str, values: list[float]) -> float:
    if family in LARGEST:
        return max(values)
    if family in LEAST or sample.endswith(CREATED):
        return min(values)
    return sum(values)
