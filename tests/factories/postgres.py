"""A temporary PostgreSQL for tests: the one of the load tests."""

from loadtests.clusters import QUICK, Cluster, fresh_database, programs, started_cluster, what_is_missing

__all__ = ["QUICK", "Cluster", "fresh_database", "programs", "started_cluster", "what_is_missing"]
