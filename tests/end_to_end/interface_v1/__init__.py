"""What HTTP v1 answered when it was recorded; later versions of the program have to answer the same."""
