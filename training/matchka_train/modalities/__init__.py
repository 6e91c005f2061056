"""How training reads each kind of sample, and which views of it there are."""
