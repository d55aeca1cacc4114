"""``python -m modalkit.runtime.transformers``: the engine as a process."""

from __future__ import annotations

import argparse
import sys

from ..openai import add_server_flags, run, server_options
from .backend import TransformersBackend
from .options import add_engine_flags, engine_options


def main() -> int:
    """Parse the flags and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m modalkit.runtime.transformers",
        description="Serve one model of the transformers library over the OpenAI API.",
        allow_abbrev=False,
    )
    add_server_flags(parser)
    add_engine_flags(parser)
    flags = parser.parse_args()
    return run(TransformersBackend(engine_options(flags)), server_options(flags))


if __name__ == "__main__":
    sys.exit(main())
