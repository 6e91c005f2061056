"""Faces: an image -> detection -> choice -> alignment -> the chips the graph takes."""
