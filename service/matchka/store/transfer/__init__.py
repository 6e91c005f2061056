"""Moving what is enrolled between services: export, import, the file of deletions."""
