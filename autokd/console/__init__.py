"""What the commands print. Reads records, decides nothing."""
