"""What PostgreSQL alone needs: its connections and its locks."""
