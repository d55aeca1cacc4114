"""``python -m modalkit.runtime.echo``: the stand-in engine as a process."""

from __future__ import annotations

import argparse
import sys

from ..openai import add_server_flags, run, server_options
from .backend import EchoBackend, EchoOptions


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m modalkit.runtime.echo",
        description="A stand-in for a model server: it echoes, word by word.",
        allow_abbrev=False,
    )
    add_server_flags(parser)
    default = EchoOptions()
    group = parser.add_argument_group("behaviour")
    group.add_argument("--served-model-name", default=default.served_model_name)
    group.add_argument("--ttft-ms", type=float, default=default.ttft_ms, help="before word one")
    group.add_argument("--delay-ms", type=float, default=default.delay_ms, help="before the others")
    group.add_argument(
        "--fail-every", type=int, default=default.fail_every, help="every n-th request is a 429"
    )
    group.add_argument("--context-length", type=int, default=default.context_length, help="words")
    group.add_argument("--embedding-width", type=int, default=default.embedding_width)
    return parser


def main() -> int:
    """Parse the flags and serve."""
    flags = _parser().parse_args()
    options = EchoOptions(
        served_model_name=flags.served_model_name,
        ttft_ms=flags.ttft_ms,
        delay_ms=flags.delay_ms,
        fail_every=flags.fail_every,
        context_length=flags.context_length,
        embedding_width=flags.embedding_width,
    )
    return run(EchoBackend(options), server_options(flags))


if __name__ == "__main__":
    sys.exit(main())
