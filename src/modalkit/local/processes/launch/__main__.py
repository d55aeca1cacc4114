"""Start one container, or be the zygote that forks them; see this folder's ``__init__``."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

# Found by path, not as part of modalkit: importing that would cost more than all the rest.
_package = ModuleType("modalkit_launch")
_package.__path__ = [str(Path(__file__).parent)]
sys.modules[_package.__name__] = _package
__package__ = _package.__name__

from .start import main  # noqa: E402 - see above

if __name__ == "__main__":
    # A container that was forked from the zygote comes back from here, its world around it.
    program = main(sys.argv[1:])
    exec(program.code, program.variables)  # noqa: S102 - what `python -m` does
