"""Experiments: questions about training that this project's own data and backbones answer in minutes."""
