"""What is made of a model's outputs, one folder for each kind of output."""
