"""What is made of frozen features beside an embedding: one folder for each task."""
