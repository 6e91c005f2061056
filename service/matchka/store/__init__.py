"""The system of record: subjects and their templates, in SQL."""
