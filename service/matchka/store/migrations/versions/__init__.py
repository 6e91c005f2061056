"""A file for each version of the tables; once released, a file is never changed."""
