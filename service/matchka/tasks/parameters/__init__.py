"""Settings of a device: what a word stands for, and ways between two of them."""
