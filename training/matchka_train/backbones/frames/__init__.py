"""Frozen encoders that keep a clip's frames: what a head reads phones from."""
