"""Declare a model, check it before it costs money, serve it on Modal."""
