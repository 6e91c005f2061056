"""What a GPU does with matchka: galleries, graphs, batches, searches and the service, as one table."""
