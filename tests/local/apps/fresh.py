"""What a program may notice of the process it runs in."""

import faulthandler
import hashlib
import multiprocessing
import os
import random
import signal
import ssl
import sys
import threading
import uuid
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import modal

app = modal.App("fresh")


def _square(number: int) -> int:
    return number * number


def _describe() -> dict[str, object]:
    main = sys.modules["__main__"]
    return {
        "argv": sys.argv,
        "orig_argv": sys.orig_argv,
        "main": (main.__name__, main.__file__, main.__spec__.name, main.__package__),
        "imported": "modal._container_entrypoint" in sys.modules,
        "ours": [name for name in sys.modules if name.startswith("modalkit")],
        "executable": (sys.executable, str(Path("/proc/self/exe").readlink())),
        "flags": repr(sys.flags),
        "path": sys.path,
        "streams": [
            (stream.encoding, stream.line_buffering, stream.write_through, stream.isatty())
            for stream in (sys.stdin, sys.stdout, sys.stderr)
        ],
        "cwd": str(Path.cwd()),
        "signals": [
            repr(signal.getsignal(number))
            for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP)
        ],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "daemon_threads": sorted(thread.daemon for thread in threading.enumerate()),
        "main_thread": threading.current_thread() is threading.main_thread(),
        "faulthandler": faulthandler.is_enabled(),
        "environment": {
            name: value for name, value in os.environ.items() if not name.startswith("MODAL_")
        },
        "session": os.getsid(0) != os.getpid(),
        "tty": os.isatty(0),
        "cold": "zygote" not in Path("/proc/self/cmdline").read_text(),
    }


@app.function()
def forked() -> dict[str, object]:
    return _describe()


@app.function(secrets=[modal.Secret.from_dict({"MALLOC_ARENA_MAX": "8"})])
def started() -> dict[str, object]:
    """Describe a process of its own: the C library reads that variable when it starts."""
    return _describe()


def _dice() -> list[str]:
    return [
        str(random.random()),
        ssl.RAND_bytes(8).hex(),
        uuid.uuid4().hex,
        os.urandom(8).hex(),
        hashlib.sha256(random.randbytes(8)).hexdigest(),
    ]


@app.function()
def dice() -> list[str]:
    return _dice()


@app.function()
def other_dice() -> list[str]:
    return _dice()


@app.function()
def children(method: str) -> list[int]:
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        return list(pool.map(_square, range(4)))


@app.function(secrets=[modal.Secret.from_dict({"TZ": "Asia/Tokyo"})])
def zone() -> str:
    import time

    return time.strftime("%z")


@app.function(secrets=[modal.Secret.from_dict({"PYTHONUTF8": "1", "PYTHONFAULTHANDLER": "1"})])
def read_at_start() -> tuple[int, bool]:
    return sys.flags.utf8_mode, faulthandler.is_enabled()


@app.function()
def after_the_zygote() -> bool:
    return True


@app.function()
def end_soon() -> str:
    """Return the container's id, and end it a moment later."""
    threading.Timer(0.02, os._exit, [0]).start()
    return os.environ["MODAL_TASK_ID"]
