"""Architectures that only engines, or a model's own repository, have classes for."""
