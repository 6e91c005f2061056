"""Load tests by scenario: what is called, by how many, in which phases, and what has to hold."""
