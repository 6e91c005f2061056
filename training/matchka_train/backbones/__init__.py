"""Frozen pretrained networks with their front ends, and the packages their weights come from."""
