"""Keys, the audit log, encryption, and receipts of deletions."""
