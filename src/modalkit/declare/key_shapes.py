"""The shapes of the keys that people paste by accident."""

from __future__ import annotations

import re

__all__ = ["holds_credential", "without_credentials"]

# Each is long enough that a name does not match.
_CREDENTIAL = re.compile(
    r"""(?<![A-Za-z0-9])(?:
      hf_[A-Za-z0-9]{16,}                              # Hugging Face
    | sk-(?=[A-Za-z0-9_-]*[0-9])[A-Za-z0-9_-]{16,}     # OpenAI, Anthropic and others
    | [rs]k_(?:live|test)_[A-Za-z0-9]{16,}             # Stripe
    | (?:gh[pousr]_[A-Za-z0-9]{16,} | github_pat_[A-Za-z0-9_]{20,})
    | glpat-[A-Za-z0-9_-]{16,}                         # GitLab
    | (?:AKIA|ASIA)[A-Z0-9]{12,}                       # AWS access key id
    | AIza[A-Za-z0-9_-]{30,}                           # Google
    | xox[abprs]-[A-Za-z0-9-]{10,}                     # Slack
    | (?:ak|as|wk|ws)-[A-Za-z0-9]{20,}                 # Modal's own tokens
    | (?:nvapi-|gsk_|r8_|npm_|pypi-)[A-Za-z0-9_-]{16,}
    | eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+            # JSON Web Token
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----
    )""",
    re.VERBOSE,
)


# Who asks, in an address of any scheme, up to its last "@": a password may hold one, a token may stand alone.
_ASKER = re.compile(r"(?<=://)[^/\s]+@")


def without_credentials(text: str) -> str:
    """Return a text with stars for what has the shape of a key, or stands before an address's ``@``.

    Examples:
        >>> without_credentials("git clone https://me:hunter2@git.example.com/x")
        'git clone https://***@git.example.com/x'
    """
    return _CREDENTIAL.sub("***", _ASKER.sub("***@", text))


def holds_credential(text: str) -> bool:
    """Whether some part of the text has the shape of a well-known kind of key."""
    return bool(_CREDENTIAL.search(text))
