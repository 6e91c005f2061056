"""Several processes as one service: a parent that starts, watches and replaces them, and what they share."""
