"""Shadows a module that Modal's own code has loaded."""

WHO = "the image's own"
