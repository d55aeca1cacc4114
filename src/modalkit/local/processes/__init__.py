"""Processes that see only what they should: started, forked, fenced in, heard of when they end."""
