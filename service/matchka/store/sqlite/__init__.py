"""What SQLite alone needs: backup, restore, its write-ahead log and its pages."""
