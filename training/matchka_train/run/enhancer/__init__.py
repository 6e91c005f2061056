"""The run of `task: enhancer`."""
