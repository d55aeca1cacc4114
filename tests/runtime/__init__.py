"""Tests of what runs in a container."""
