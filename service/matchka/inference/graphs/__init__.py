"""Which of a bundle's graphs runs on this machine."""
