"""Layouts in which data sets lie on disk."""
