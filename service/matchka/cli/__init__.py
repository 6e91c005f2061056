"""The command line: run the service, call it, manage what is enrolled."""
