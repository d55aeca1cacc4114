"""Tests of `modalkit check`."""
