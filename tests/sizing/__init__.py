"""Tests of sizing."""
