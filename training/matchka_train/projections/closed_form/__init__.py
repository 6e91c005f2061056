"""Projections that are computed from statistics."""
