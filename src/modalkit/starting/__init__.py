"""Cold starts to look at: made on a local Modal, or read from a log."""
