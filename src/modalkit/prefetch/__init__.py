"""Fetching weights once, verified, into a service's cache; everything here runs in a CPU container."""
