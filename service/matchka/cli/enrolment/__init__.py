"""Enrolment of the people of a CSV file, which may be interrupted and goes on where it was."""
