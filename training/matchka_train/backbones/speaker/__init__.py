"""Backbones that embed speakers."""
