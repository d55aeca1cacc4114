"""Runs commands of the modal CLI, each in a fork of one process that has loaded it.

Reads a JSON list of argument lists from standard input and prints one JSON line for each:
its exit code and what it printed.
"""

import json
import os
import sys
import tempfile

import modal.__main__


def run(arguments: list[str]) -> dict[str, object]:
    """Run one command in a fork."""
    with tempfile.TemporaryFile() as output:
        if (child := os.fork()) == 0:
            for stream in (1, 2):
                os.dup2(output.fileno(), stream)
            sys.argv = ["modal", *arguments]
            try:
                modal.__main__.main()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException as error:  # noqa: BLE001 - the fork must not go on as its parent
                print(repr(error))
                code = 1
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return {"code": os.waitstatus_to_exitcode(status), "said": output.read().decode()}


if __name__ == "__main__":
    for each in json.load(sys.stdin):
        print(json.dumps(run(each)), flush=True)
