"""What is made of the code: calls, commands, settings, errors, docstrings."""
