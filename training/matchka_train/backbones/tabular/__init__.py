"""Frozen features of named numbers: nothing is downloaded."""
