"""Backbones that embed faces, and the detector before them."""
