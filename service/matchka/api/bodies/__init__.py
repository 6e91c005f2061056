"""Bodies of requests: read in memory, by their content type, as the values of each name."""
