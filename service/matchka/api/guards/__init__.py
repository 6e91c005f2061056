"""What a request must pass before it is worked on: host, key, size and load."""
