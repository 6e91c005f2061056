"""Torture: the server is killed, flooded and starved, and what it promised is compared with what it then holds.

These programs speak HTTP and import nothing of the service but, out of tests/factories, the bundle whose callers choose
their embeddings; what must be true they compute by themselves.
"""
