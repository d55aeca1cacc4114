"""Whether a text is a key: by the shapes that vendors give theirs, and by how random it looks.

What looks like an example (``sk-xxxx``, ``your-key``, ``user:password@localhost``) is none.
"""

from __future__ import annotations

import base64
import math
import re
from collections import Counter

from ..declare.key_shapes import holds_credential

__all__ = ["is_key", "is_placeholder", "is_secret_name", "looks_random", "shown"]

# Shapes beyond those that `secrets.holds_credential` knows from Secret names.
_SHAPES = re.compile(
    r"""(?<![A-Za-z0-9])(?:
      SG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}            # SendGrid
    | https://hooks\.slack\.com/services/T\w+/B\w+/\w{20,}
    | https://discord(?:app)?\.com/api/webhooks/\d{15,}/[\w-]{40,}
    | \d{8,10}:AA[A-Za-z0-9_-]{32,}                         # Telegram
    | (?:xai|pplx|fw|pcsk|tvly|sk_live|dapi)[-_][A-Za-z0-9_-]{24,}
    | lsv2_(?:pt|sk)_[A-Za-z0-9_]{30,}                      # LangSmith
    | ya29\.[A-Za-z0-9_-]{30,}                              # Google OAuth
    | AccountKey=[A-Za-z0-9+/=]{60,}                        # Azure storage
    | dckr_pat_[A-Za-z0-9_-]{20,}
    | shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}
    | api_org_[A-Za-z0-9]{30,}                              # Hugging Face, of an organisation
    | GOCSPX-[A-Za-z0-9_-]{24,}                             # Google OAuth client
    | xapp-\d-[A-Z0-9]+-\d+-[a-f0-9]{32,}                   # Slack app
    | whsec_[A-Za-z0-9+/=]{24,}                             # signing secret of webhooks
    | dapi[a-f0-9]{32}                                      # Databricks
    | do[opr]_v1_[a-f0-9]{64}                               # DigitalOcean
    | hv[sb]\.[A-Za-z0-9_-]{24,}                            # Vault
    | sntr(?:ys|yu)_[A-Za-z0-9_=+/-]{40,}                   # Sentry
    | lin_api_[A-Za-z0-9]{32,}                              # Linear
    | ntn_[A-Za-z0-9]{40,}                                  # Notion
    | glsa_[A-Za-z0-9]{32}_[a-fA-F0-9]{8}                   # Grafana
    | sb[ps]_[a-f0-9]{40} | sb_secret_[A-Za-z0-9_-]{20,}    # Supabase
    | wandb_v1_[A-Za-z0-9_]{40,}                            # Weights & Biases
    | rpa_[A-Z0-9]{32,}                                     # RunPod
    | esecret_[A-Za-z0-9]{20,}                              # Anyscale
    | nfp_[A-Za-z0-9]{36}                                   # Netlify
    | key-[a-f0-9]{32}                                      # Mailgun
    | figd_[A-Za-z0-9_-]{36,}                               # Figma
    | AGE-SECRET-KEY-1[0-9A-Z]{58}
    | PMAK-[a-f0-9]{24}-[a-f0-9]{34}                        # Postman
    )""",
    re.VERBOSE,
)
# ``sk-`` and words: the name of a thing, not a key.
_WORDS_ALONE = re.compile(r"sk(?:-(?:[a-z]+|v?\d{1,3}))+")
_SK = re.compile(r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]+")
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]+\.(?P<claims>eyJ[A-Za-z0-9_-]+)")
# What the claims of a token say that documentation shows, or that every browser gets.
_OPEN_CLAIMS = re.compile(rb"1234567890|John Doe|example|\"role\": ?\"anon\"", re.IGNORECASE)
_URL = re.compile(
    r"\b(?:postgres(?:ql)?|mysql|mongodb(?:\+srv)?|rediss?|amqps?|mssql|mariadb|https?)"
    r"(?:\+\w+)?://(?P<user>[^:/@\s]*):(?P<password>[^@\s/]+)@(?P<host>[^:/\s?]+)"
)
_NEAR = re.compile(
    r"localhost|127\.0\.0\.1|0\.0\.0\.0|\[?::1|db|database|postgres|redis|mongo|mysql|host|hostname|host\.docker\.internal"
)
_WEAK = re.compile(
    r"pass(word|wd)?|user(name)?|secret|postgres|root|admin|test|example|mypassword|pw|pwd|key|token",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"x{4,}|\*{3,}|\.{3}|…|<|>|\$|\{|%[(s]|your|example|placeholder|change[-_ ]?me|dummy|redacted|insert|"
    r"fake|sample|12345|abcdef|todo|not[-_ ]?(?:needed|used|a[-_ ]real)|replace|my[-_](?:api|secret|token|key)|test",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:API_?KEY|APIKEY|TOKEN|SECRET(?:_KEY|_ACCESS_KEY)?|PASSWORD|PASSWD|ACCESS_KEY|PRIVATE_KEY|CREDENTIALS?|AUTH_KEY|WEBHOOK_SECRET)$",
    re.IGNORECASE,
)
_NOT_A_SECRET = re.compile(
    r"MAX|NUM|COUNT|PAD|EOS|BOS|STOP|TOKENIZER|_ID$|SPECIAL|SEP_|CLS_|MASK", re.IGNORECASE
)
_LEAST_LENGTH = 16
_LEAST_WORD = 4
_LEAST_ENTROPY = 3.4  # bits a character; English words in a row stay below, 20 random letters above
_RUN = re.compile(r"[A-Za-z0-9+/=_-]+")


def is_key(text: str) -> bool:
    """Whether some part of a text is a key, or a URL with a password, that is no example.

    Examples:
        >>> is_key("postgres://app:9fK2pQ7x@db.prod.example-co.net/main")
        True
        >>> is_key("postgres://user:password@localhost/dev")
        False
    """
    if (found := _URL.search(text)) is not None:
        return _is_real_login(found)
    if holds_credential(text):
        return not _PLACEHOLDER.search(text) and _varied(text) and not _is_open(text)
    return bool(_SHAPES.search(text)) and not _PLACEHOLDER.search(text)


def _is_open(text: str) -> bool:
    """Whether what has the shape of a key is words, or a token that anyone may have."""
    if (named := _SK.search(text)) is not None:
        return bool(_WORDS_ALONE.fullmatch(named[0]))
    token = _JWT.search(text)
    if token is None:
        return False
    claims = token["claims"]
    try:
        said = base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))
    except ValueError:
        return False
    return bool(_OPEN_CLAIMS.search(said))


def _is_real_login(found: re.Match[str]) -> bool:
    user, password, host = found["user"], found["password"], found["host"]
    if _NEAR.fullmatch(host) or _WEAK.fullmatch(password) or password == user:
        return False
    return not _PLACEHOLDER.search(password) and not _PLACEHOLDER.search(host.partition(".")[0])


def _varied(text: str) -> bool:
    """A key that somebody made up repeats itself."""
    return text.startswith("-----BEGIN") or len(set(text)) > 8  # noqa: PLR2004 - of 16 and more


def is_placeholder(text: str) -> bool:
    """Whether a text stands where a key would."""
    return bool(_PLACEHOLDER.search(text))


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret."""
    return bool(_SECRET_NAME.search(name)) and not _NOT_A_SECRET.search(name)


def looks_random(text: str) -> bool:
    """Whether a text could only be a generated key: long, of one piece, letters and digits mixed."""
    if len(text) < _LEAST_LENGTH or not _RUN.fullmatch(text) or is_placeholder(text):
        return False
    if not (any(char.isdigit() for char in text) and any(char.isalpha() for char in text)):
        return False
    if any(_is_word(part) for part in re.split(r"[-_/]", text)):
        return False
    return _entropy(text) >= _LEAST_ENTROPY or bool(re.fullmatch(r"[0-9a-f]{32,}", text))


def _is_word(part: str) -> bool:
    """Whether a part of a text is one of a name's words rather than a piece of a key."""
    return len(part) >= _LEAST_WORD and part.isalpha() and part.islower()


def _entropy(text: str) -> float:
    """Bits for each character."""
    total = len(text)
    return -sum(n / total * math.log2(n / total) for n in Counter(text).values())


def shown(text: str) -> str:
    """Return what of a key may be shown: its first characters, which say whose it is."""
    return f"{text[:4]}... ({len(text)} characters)"
