"""Torture of several replicas: real servers on one PostgreSQL, behind HAProxy with the configuration of deploy/.

The bundle is one whose callers choose their embeddings: who must be found is known, and a call is cheap.
"""
