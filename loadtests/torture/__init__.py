"""Torture: the server is killed, flooded and starved, and what it promised is compared with what it then holds.

These programs speak HTTP and import nothing of the service; what must be true they compute by themselves.
"""
