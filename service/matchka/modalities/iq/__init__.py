"""Radio: complex samples of a receiver (I and Q) to windows."""
