"""Sandboxes: containers in which clients run commands of their own."""
