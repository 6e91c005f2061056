"""What a number of requests and templates needs: arithmetic on measured figures."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Demand:
    """What is asked of a service, and how it is divided.

    Attributes:
        requests_per_s: of all tenants.
        templates: of all tenants, one a subject.
        utilisation: share of the cores that is busy on average, so that there is room for peaks.
        replica_cores: of each replica, which is one process.
        replicas: of each group of tenants; each holds the group's galleries.
    """

    requests_per_s: float = 10_000
    templates: float = 100e6
    utilisation: float = 0.6
    replica_cores: int = 2
    replicas: int = 2


@dataclass(frozen=True)
class Unit:
    """What one of each takes.

    Attributes:
        cpu_ms: of a request.
        template_bytes: resident, in a gallery.
        record_bytes: in the database, its indexes with it.
        process_mib: of a process with nobody enrolled.
    """

    cpu_ms: float
    template_bytes: float
    record_bytes: float
    process_mib: float


@dataclass(frozen=True)
class Cost:
    """What is needed: cores that are busy and cores in all, groups of tenants, GiB of a replica, of all, on disks."""

    busy_cores: float
    cores: int
    groups: int
    templates_of_group: float
    replica_gib: float
    memory_gib: float
    database_gib: float


def cost(demand: Demand, unit: Unit) -> Cost:
    """Tenants are divided among groups of replicas; there are as many groups as the requests' CPU time needs.

    >>> cost(Demand(requests_per_s=600, templates=3e6), Unit(10.0, 1024.0, 4096.0, 200.0)).cores
    12
    """
    busy = demand.requests_per_s * unit.cpu_ms / 1e3
    group_cores = demand.replica_cores * demand.replicas
    groups = math.ceil(busy / demand.utilisation / group_cores)
    replica_gib = (demand.templates / groups * unit.template_bytes / 2**20 + unit.process_mib) / 1024
    return Cost(
        busy_cores=busy,
        cores=groups * group_cores,
        groups=groups,
        templates_of_group=demand.templates / groups,
        replica_gib=replica_gib,
        memory_gib=replica_gib * groups * demand.replicas,
        database_gib=demand.templates * unit.record_bytes / 2**30,
    )
