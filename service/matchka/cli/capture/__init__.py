"""Samples from the devices of this machine."""
