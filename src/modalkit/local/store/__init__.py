"""What outlives a command: one folder with a database of records, and files beside it."""
