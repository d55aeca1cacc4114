"""Sandboxes: containers in which clients run commands of their own; `inside/` runs there."""
