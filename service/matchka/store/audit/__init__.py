"""The audit log: who asked for what, and what was decided; append-only, each record chained to the one before."""
