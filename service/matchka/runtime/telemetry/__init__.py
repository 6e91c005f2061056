"""What is told about the process and its requests: their ids, and log lines."""
