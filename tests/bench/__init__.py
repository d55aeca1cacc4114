"""Tests of `modalkit bench`."""
