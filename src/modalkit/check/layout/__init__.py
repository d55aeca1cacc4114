"""A statement as a formatter would lay it out: on one line where it fits, else split at its brackets.

What `ruff format` and `black` make of the statements that fixes touch: arguments one a line with a comma
behind the last, chains of calls in parentheses. A statement that was laid out otherwise, or that has
more in it than this knows (operators over lines, comprehensions, long strings), is left as it is.
"""

from __future__ import annotations

from .statements import laid_out
from .touched import Formatter, line_limit

__all__ = ["Formatter", "laid_out", "line_limit"]
