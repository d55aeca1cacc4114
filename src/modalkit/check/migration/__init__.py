"""Code written for a Modal of before: what to write now, for people and as rewrites.

``data/modal_changes.json`` says what changed and when; a module here is about one kind of it. Each
rule reads the syntax tree and writes spans of text, so what it does not mean stays as it is.
"""

from __future__ import annotations

from . import (
    app_objects,
    calls,
    concurrency,
    constructors,
    endpoints,
    environment,
    file_systems,
    gpus,
    images,
    imports,
    inside,
    lifecycle,
    local_modules,
    lookups,
    mounted,
    names,
    options,
)

__all__ = [
    "app_objects",
    "calls",
    "concurrency",
    "constructors",
    "endpoints",
    "environment",
    "file_systems",
    "gpus",
    "images",
    "imports",
    "inside",
    "lifecycle",
    "local_modules",
    "lookups",
    "mounted",
    "names",
    "options",
]
