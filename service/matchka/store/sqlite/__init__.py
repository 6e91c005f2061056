"""What SQLite alone needs: its file, backup, restore, its write-ahead log and its pages."""
