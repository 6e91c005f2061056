"""What training costs at the size of real corpora."""
