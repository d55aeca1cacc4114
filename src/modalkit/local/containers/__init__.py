"""Containers of functions: how many there are, what each gets, finds and works on."""
