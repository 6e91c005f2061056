"""Projections that are trained by a loss."""
