"""Which class a sample is of, or none of those that the model knows."""
