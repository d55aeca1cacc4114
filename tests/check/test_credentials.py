"""Keys are found, and what only looks like one is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.check import CheckReport, check_paths
from modalkit.check.credentials import is_key, is_secret_name, looks_random
from modalkit.check.fixing import fix_file
from modalkit.check.formats import as_github, as_json, as_sarif
from modalkit.check.runner import check_source
from modalkit.check.settings import Settings
from modalkit.check.source import parse_source
from modalkit.check.text import finding_text

# Put together here, so that no line of this file has the shape of a key.
KEYS = [
    "hf_" + "QwErTyUiOp7412589630aSdFgHjKlZxCvB",
    "sk-proj-" + "a8Kd02mZpQ7vTnR4xYwL9cBf6hJs",
    "sk-ant-api03-" + "a8Kd02mZpQ7vTnR4xYwL9cBf6hJs",
    "AKIA" + "Q3EGRIU7ZJXKVWDM",
    "ghp_" + "a8Kd02mZpQ7vTnR4xYwL9cBf6hJsQe",
    "AIza" + "SyD3kf9Qm2Zx7Vb1Nn5Lp8Rt4Ww6Yy0Cc",
    "xoxb-" + "7412589630-a8Kd02mZpQ7vTn",
    "https://hooks.slack.com/services/" + "T02AB3C4D/B05EF6G7H/a8Kd02mZpQ7vTnR4xYwL9cBf",
    "postgres://" + "app:9fK2pQ7x@db.prod.acme-co.net:5432/main",
    "mongodb+srv://" + "svc:h7Gq2Lp9Zx@cluster0.k3j2.mongodb.net/app",
    "redis://" + ":9fK2pQ7xTz@cache.acme-co.net:6379/0",
    "SG." + "a8Kd02mZpQ7vTnR4xYwL9c.Bf6hJsQeRtYuIoPa5DfGhJkL",
    "-----BEGIN " + "RSA PRIVATE KEY-----",
]
NOT_KEYS = [
    "sk-xxxxxxxxxxxxxxxxxxxxxxxx", "hf_your_token_here_please_1", "your-api-key", "sk-1234567890abcdef",
    "postgres://user:password@localhost:5432/db", "postgresql://postgres:postgres@db:5432/app",
    "mysql://root:root@mysql/test", "redis://localhost:6379", "https://user@example.com/path",
    "sk-ant-api03-...", "<YOUR_OPENAI_API_KEY>", "${HF_TOKEN}", "ak-...", "hf_hub_download",
    "https://example.com:8000/a@b", "sentence-transformers/all-MiniLM-L6-v2", "AKIAIOSFODNN7EXAMPLE",
    "12fd6884d2585dd4d020373e7f39f74507b31866", "sha256:9ad870ac0b0e5e48ced156bb02f85d324b7275d2",
    "text/event-stream; charset=utf-8", "sk-learn-is-not-a-key-at-all", "nvidia/cuda:12.9.0-devel-ubuntu22.04",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:8])
def test_keys_are_found_and_never_shown(key, tmp_path):
    """A key anywhere in a file is an error, and no output holds it."""
    assert is_key(key)
    file = tmp_path / "a.py"
    file.write_text(f"import modal\nsecret = modal.Secret.from_dict({{'A': {key!r}}})\n")
    (finding,) = check_paths([str(file)]).findings
    assert finding.code == "MK201"
    assert key not in as_json(CheckReport((finding,), 1)) + finding_text(finding)
    assert len(finding.source_line) == len(file.read_text().split("\n")[1])


RANDOM = "q7Zk20fPw9Lx" + "Vb3TnR8sYd5M"


@pytest.mark.parametrize("select", [(), ("MK802",)], ids=["all", "MK802"])
@pytest.mark.parametrize(
    ("name", "key", "literal"),
    [
        ("T", KEYS[0], f'"{KEYS[0]}"'),
        ("MY_TOKEN", RANDOM, f"'{RANDOM}'"),
        ("T", KEYS[0], f'(\n    "{KEYS[0]}"\n    "/tail")'),
    ],
    ids=["shape", "name", "lines"],
)
def test_cures_and_edits_hold_no_key(name, key, literal, select, tmp_path):
    """A cure that repeats the source shows no key in any format, and ``--fix`` writes it whole."""
    file = tmp_path / "a.py"
    file.write_text(
        "import modal\n\napp = modal.App()\n\n\n"
        f'@app.function(secret=modal.Secret.from_dict({{"{name}": {literal}}}))\ndef f(): ...\n'
    )
    report = check_paths([str(file)], Settings(select=select))
    said = [as_json(report), as_sarif(report), as_github(report)]
    said += [finding_text(one) for one in report.findings]
    assert "secrets=[modal.Secret" in as_github(report)
    assert key not in "\n".join(said)
    assert key in fix_file(file).text


def test_the_line_of_an_ignore_holds_no_key(tmp_path):
    """A key beside a comment that names no rule is not shown with the comment's line."""
    file = tmp_path / "a.py"
    file.write_text(f"import modal\n\nT = {KEYS[0]!r}  # modalkit: ignore\n")
    report = check_paths([str(file)])
    assert report.findings
    assert KEYS[0] not in as_json(report)


@pytest.mark.parametrize("text", NOT_KEYS)
def test_examples_and_names_are_no_keys(text):
    """Placeholders, development logins, commits and names are left alone."""
    assert not is_key(text)


@pytest.mark.parametrize(
    "line",
    [
        "E = {'API_KEY': 'EMPTY'}", "f(api_key='not-needed')", "MAX_TOKEN = 'a1b2c3d4e5f6a7b8c9d0'",
        "PAD_TOKEN = '<|endoftext|>'", "TOKENIZER = 'meta-llama/Llama-3.1-8B'", "f(token='hf')",
        "SECRET = 'my-huggingface-secret-2'", "STOP_TOKEN = '</s><s></s><s></s>1'",
        "f(password='correct horse battery staple 9')", "def f(token: str = ''): ...",
        "TOKEN_ID = 'a8Kd02mZpQ7vTnR4xYwL'", "f(hf_token=None)", "KEY = 'a8Kd02mZpQ7vTnR4xYwL'",
    ],
)  # fmt: skip
def test_ordinary_values_under_secret_names_pass(line):
    """Values that are no generated key pass under any name, and keys of dicts are no API keys."""
    assert not check_source(parse_source("a.py", f"import modal\n{line}\n"))


@pytest.mark.parametrize(
    "line",
    [
        "E = {'SERVICE_API_KEY': 'KEY'}", "api_key = 'KEY'", "os.environ['WANDB_API_KEY'] = 'KEY'",
        "f(auth_token='KEY')", "def f(password='KEY'): ...", "class A:\n    token: str\n    secret_key = 'KEY'",
        "i = modal.Image.debian_slim().dockerfile_commands('ENV MY_TOKEN=KEY')",
        "i = modal.Image.debian_slim().run_commands('export MY_SECRET=KEY && make')",
        "i = modal.Image.debian_slim().env({'MY_PASSWORD': 'KEY'})",
    ],
)  # fmt: skip
def test_random_values_under_secret_names_are_found(line):
    """A generated value under a name that says secret is an error wherever it stands."""
    text = f"import modal, os\n{line.replace('KEY', 'q7Zk20fPw9LxVb3TnR8sYd5M') if 'API_KEY' not in line else line.replace(chr(39) + 'KEY', chr(39) + 'q7Zk20fPw9LxVb3TnR8sYd5M')}\n"
    assert "MK202" in {one.code for one in check_source(parse_source("a.py", text))}


@given(
    st.lists(
        st.sampled_from(["model", "prod", "huggingface", "token", "my", "cache", "v2", "app"]),
        min_size=1,
        max_size=6,
    )
)
def test_names_made_of_words_are_not_random(words):
    """A name made of words, however long, is not taken for a generated key."""
    assert not looks_random("-".join(words))
    assert not looks_random("_".join(words))


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("OPENAI_API_KEY", True), ("hf_token", True), ("DB_PASSWORD", True), ("AWS_SECRET_ACCESS_KEY", True),
        ("MAX_TOKENS", False), ("pad_token", False), ("eos_token_id", False), ("PGHOST", False),
        ("tokenizer", False), ("document_key", False), ("num_token", False), ("token_count", False),
    ],
)  # fmt: skip
def test_names_that_say_secret(name, secret):
    """Names of keys, tokens and passwords say secret; those of token counts and ids do not."""
    assert is_secret_name(name) is secret


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("print(os.environ['HF_TOKEN'])", True), ("print(f'x {os.environ[\"HF_TOKEN\"]}')", True),
        ("t = os.getenv('HF_TOKEN'); print('t', t)", True), ("print(os.environ['HF_TOKEN'][:4])", False),
        ("print(len(os.environ['HF_TOKEN']))", False), ("print('HF_TOKEN' in os.environ)", False),
        ("print(bool(os.environ.get('HF_TOKEN')))", False), ("print(os.environ['PGHOST'])", False),
        ("import logging; logging.info('%s', os.environ['HF_TOKEN'])", True),
    ],
)  # fmt: skip
def test_printing_a_secret(line, found):
    """A secret that is shown in full is found; what is derived from it is not."""
    text = f"import modal, os\napp = modal.App()\ndef f():\n    {line}\n"
    codes = {one.code for one in check_source(parse_source("a.py", text))}
    assert ("MK203" in codes) is found
