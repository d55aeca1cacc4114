"""`vllm bench serve`, kept running: one run for each line of arguments. Started by vLLM's own Python.

The command's imports take half a minute of both cores, which would lie between two turns; what runs here
is the function that the command calls.
"""

import contextlib
import json
import sys

from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = FlexibleArgumentParser()
add_cli_args(parser)
print("ready", flush=True)
for line in sys.stdin:
    with contextlib.redirect_stdout(sys.stderr):
        main(parser.parse_args(json.loads(line)))
    print("done", flush=True)
