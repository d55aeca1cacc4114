"""Tests of ``modalkit lock``."""
