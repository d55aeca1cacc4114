"""The engines' own flag parsers, on a machine without a GPU.

Used by ``refresh_flags.py``, and as a command by ``tests/engines``: it reads
command lines as JSON (a list of lists, without the program) and answers, for each, null or what
the engine's parser said against it.

    echo '[["--model-path", "m", "--tp-size", "2"]]' | python scripts/real_parsers.py sglang

With ``--resolve`` what is parsed also goes through the engine's own checks and defaults, as far as
it is done before a GPU is touched: SGLang's whole resolution, taking ``cuda`` for the device, and
the making of vLLM's configuration, on its platform for CPUs. The model must then be there.

SGLang's wheel holds the parser, and imports modules that need no GPU to be read but one to be
installed; those are stood in for. The environments are made by ``engine_env.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.abc
import importlib.machinery
import io
import json
import os
import sys
import types
from collections.abc import Callable, Sequence
from typing import get_args


class StandIn:
    """A value that answers anything; decorators made of it return what they decorate."""

    def __getattr__(self, name: str) -> StandIn:
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn()

    def __call__(self, *args: object, **options: object) -> object:
        """Return what is decorated, or another stand-in."""
        decorates = len(args) == 1 and callable(args[0]) and not options
        return args[0] if decorates else StandIn()

    def __getitem__(self, key: object) -> StandIn:
        return StandIn()

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        return ()


class StandInModule(types.ModuleType):
    """A module whose every name is a `StandIn`."""

    __version__ = "0"

    def __getattr__(self, name: str) -> StandIn:
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn()


class StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds stand-ins for packages that are not installed here."""

    def __init__(self, *packages: str) -> None:
        self.packages = packages

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Claim the packages and everything below them."""
        del path, target
        if name.partition(".")[0] not in self.packages:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Return the module that answers anything."""
        return StandInModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to run."""


def sglang_parser() -> argparse.ArgumentParser:
    """Return the parser of ``python -m sglang.launch_server``."""
    # PyTorch and transformers look for these once, and must not find what only stands in.
    import torch._dynamo.testing  # noqa: F401, PLC0415
    from transformers.utils import is_torchvision_available  # noqa: PLC0415

    is_torchvision_available()
    sys.meta_path.insert(0, StandInFinder("IPython", "sgl_kernel", "torchvision", "triton"))
    from sglang.srt.server_args import ServerArgs  # noqa: PLC0415 - only where it is installed

    parser = argparse.ArgumentParser(prog="sglang serve", allow_abbrev=False)
    ServerArgs.add_cli_args(parser)
    return parser


def vllm_parser() -> argparse.ArgumentParser:
    """Return the parser of ``vllm serve``."""
    os.environ["VLLM_TARGET_DEVICE"] = "cpu"
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415

    try:
        from vllm.entrypoints.common.cli_args import make_arg_parser  # noqa: PLC0415
    except ModuleNotFoundError:  # where it was before 0.33
        from vllm.entrypoints.launchers.cli_args import make_arg_parser  # noqa: PLC0415
    return make_arg_parser(FlexibleArgumentParser(prog="vllm serve", allow_abbrev=False))


def vllm_values() -> dict[str, dict[str, object]]:
    """Return, by flag, the values that vLLM's parser takes as any text and checks later."""
    from vllm.config.cache import CacheDType  # noqa: PLC0415
    from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS  # noqa: PLC0415
    from vllm.model_executor.model_loader import LoadFormats  # noqa: PLC0415
    from vllm.reasoning import ReasoningParserManager  # noqa: PLC0415
    from vllm.tool_parsers import ToolParserManager  # noqa: PLC0415
    from vllm.v1.attention.backends.registry import AttentionBackendEnum  # noqa: PLC0415

    found = {
        "--tool-call-parser": ToolParserManager.list_registered(),
        "--reasoning-parser": ReasoningParserManager.list_registered(),
        "--quantization": sorted(QUANTIZATION_METHODS),
        "--kv-cache-dtype": list(get_args(CacheDType)),
        "--load-format": list(get_args(LoadFormats)),
        "--attention-backend": list(AttentionBackendEnum.__members__),
    }
    plugins = {
        "--tool-call-parser": "--tool-parser-plugin",
        "--reasoning-parser": "--reasoning-parser-plugin",
    }
    return {
        flag: {"choices": names, "parser_takes_any": True}
        | ({"plugin": plugins[flag]} if flag in plugins else {})
        for flag, names in found.items()
    }


PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "sglang": sglang_parser,
    "vllm": vllm_parser,
}


def resolve_sglang(parsed: argparse.Namespace) -> None:
    """Run SGLang's resolution of its arguments, and its checks of the result."""
    from sglang.srt.server_args import ServerArgs  # noqa: PLC0415 - only where it is installed

    parsed.device = parsed.device or "cuda"  # asking for one needs a driver
    arguments = ServerArgs.from_cli_args(parsed)
    arguments.resolve_once()
    arguments.check_server_args()


def resolve_vllm(parsed: argparse.Namespace) -> None:
    """Make vLLM's configuration, which checks its parts against the model and one another."""
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415 - only where it is installed
    from vllm.entrypoints.common.cli_args import validate_parsed_serve_args  # noqa: PLC0415

    parsed.model = parsed.model_tag
    validate_parsed_serve_args(parsed)
    AsyncEngineArgs.from_cli_args(parsed).create_engine_config()


RESOLVERS: dict[str, Callable[[argparse.Namespace], None]] = {
    "sglang": resolve_sglang,
    "vllm": resolve_vllm,
}


def verdict(
    parser: argparse.ArgumentParser,
    arguments: list[str],
    resolve: Callable[[argparse.Namespace], None] | None = None,
) -> str | None:
    """Return what an engine says against a command line, or None."""
    said = io.StringIO()
    before = dict(os.environ)
    try:
        with contextlib.redirect_stderr(said):
            parsed = parser.parse_args(arguments)
        if resolve:
            resolve(parsed)
    except (SystemExit, Exception) as error:  # noqa: BLE001 - an engine may fail in any way
        lines = said.getvalue().strip().splitlines()
        return lines[-1] if lines else repr(error)
    finally:
        os.environ.clear()  # a resolution sets variables for the process it expects to become
        os.environ.update(before)
    return None


def main() -> int:
    """Judge the command lines on stdin; the answers are the last line of stdout."""
    engine, *options = sys.argv[1:]
    parser = PARSERS[engine]()
    resolve = RESOLVERS[engine] if "--resolve" in options else None
    verdicts = [verdict(parser, arguments, resolve) for arguments in json.load(sys.stdin)]
    sys.stdout.write(f"\n{json.dumps(verdicts)}\n")
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # an engine's threads may outlive its parser
