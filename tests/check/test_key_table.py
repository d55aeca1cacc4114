"""Keys of well-known vendors, and what only looks like one in real code: made up, in no one's use.

Each key is put together from two halves, so that no line of this file has the shape of one.
`bench/check_keys.py` counts over the same tables.
"""

from __future__ import annotations

import hashlib

import pytest

from modalkit.check.runner import check_source
from modalkit.check.settings import Settings
from modalkit.check.source import parse_source

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def _random(kind: str, length: int, letters: str = _LETTERS) -> str:
    """Letters that look random and are always the same."""
    digest = b"".join(hashlib.sha512(f"{kind} {n}".encode()).digest() for n in range(4))
    return "".join(letters[byte % len(letters)] for byte in digest[:length])


def _hex(kind: str, length: int) -> str:
    return _random(kind, length, "0123456789abcdef")


def _upper(kind: str, length: int) -> str:
    return _random(kind, length, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")


# Found wherever they stand, whatever their name is.
KEYS = {
    "hugging face": "hf_" + _random("hf", 34),
    "hugging face organisation": "api_org_" + _random("org", 34),
    "openai": "sk-" + _random("o", 48),
    "openai project": "sk-proj-" + _random("op", 74) + "-" + _random("oq", 40),
    "openai service account": "sk-svcacct-" + _random("os", 60),
    "anthropic": "sk-ant-api03-" + _random("an", 90) + "-" + _random("a2", 6) + "AA",
    "openrouter": "sk-or-v1-" + _hex("or", 64),
    "langfuse": "sk-lf-" + "-".join(_hex(f"lf{n}", n) for n in (8, 4, 12)),
    "aws access key id": "AKIA" + _upper("aws", 16),
    "aws session": "ASIA" + _upper("sts", 16),
    "github": "ghp_" + _random("gh", 36),
    "github app": "ghs_" + _random("ghs", 36),
    "github fine-grained": "github_pat_" + _random("gf", 22) + "_" + _random("gg", 59),
    "gitlab": "glpat-" + _random("gl", 20),
    "google": "AIza" + _random("go", 35),
    "google oauth": "ya29." + _random("ya", 60),
    "google client secret": "GOCSPX-" + _random("gc", 28),
    "slack bot": "xoxb-" + "7412589630-8521479630-" + _random("sl", 24),
    "slack app": "xapp-1-" + _upper("xa", 11) + "-7412589630-" + _hex("xb", 64),
    "slack webhook": "https://hooks.slack.com/services/" + f"T{_upper('t', 8)}/B{_upper('b', 8)}/{_random('w', 24)}",
    "discord webhook": "https://discord.com/api/webhooks/" + "741258963085274196/" + _random("dw", 68),
    "telegram": "7412589630" + ":AA" + _random("te", 33),
    "stripe": "sk_live_" + _random("st", 24),
    "stripe webhook": "whsec_" + _random("wh", 32),
    "sendgrid": "SG." + _random("sg", 22) + "." + _random("sh", 43),
    "npm": "npm_" + _random("np", 36),
    "pypi": "pypi-" + "AgEIcHlwaS5vcmc" + _random("py", 60),
    "nvidia": "nvapi-" + _random("nv", 64),
    "groq": "gsk_" + _random("gr", 52),
    "replicate": "r8_" + _random("re", 37),
    "xai": "xai-" + _random("xi", 80),
    "perplexity": "pplx-" + _random("pp", 48),
    "tavily": "tvly-" + _random("tv", 32),
    "langsmith": "lsv2_pt_" + _hex("ls", 32) + "_" + _hex("lt", 10),
    "fireworks": "fw_" + _random("fw", 24),
    "databricks": "dapi" + _hex("da", 32),
    "pinecone": "pcsk_" + _random("pc", 60),
    "docker": "dckr_pat_" + _random("do", 27),
    "shopify": "shpat_" + _hex("sh", 32),
    "digitalocean": "dop_v1_" + _hex("dop", 64),
    "vault": "hvs." + _random("hv", 90),
    "sentry": "sntrys_" + _random("se", 60),
    "linear": "lin_api_" + _random("li", 40),
    "notion": "ntn_" + _random("no", 46),
    "grafana": "glsa_" + _random("gs", 32) + "_" + _hex("gt", 8),
    "supabase": "sbp_" + _hex("sb", 40),
    "weights and biases": "wandb_v1_" + _random("wb", 60),
    "modal token id": "ak-" + _random("ak", 22),
    "modal token secret": "as-" + _random("as", 22),
    "azure storage": "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=" + _random("az", 86) + "==",
    "age": "AGE-SECRET-KEY-1" + _random("ag", 58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"),
    "postman": "PMAK-" + _hex("pm", 24) + "-" + _hex("pn", 34),
    "jwt": "eyJhbGciOiJIUzI1NiJ9." + "eyJ" + _random("jw", 60) + "." + _random("jx", 43),
    "rsa": "-----BEGIN " + "RSA PRIVATE KEY-----\nMIIEow" + _random("rs", 60),
    "openssh": "-----BEGIN " + "OPENSSH PRIVATE KEY-----\n" + _random("ss", 60),
    "postgres": "postgresql+psycopg://" + "svc_orders:9fK2pQ7xTz@pg-1.prod.acme-co.net:5432/orders",
    "mongodb": "mongodb+srv://" + "svc:h7Gq2Lp9Zx@cluster0.k3j2q.mongodb.net/app?retryWrites=true",
    "redis": "rediss://" + "default:AXq7Zk20fPw9Lx@eu1-calm-owl-33412.upstash.io:6379",
    "amqp": "amqps://" + "orders:Vb3TnR8sYd5M@hawk.rmq.cloudamqp.com/orders",
    "https login": "https://" + "deploy:q7Zk20fPw9LxVb3T@artifacts.acme-co.net/simple",
}  # fmt: skip

# Found under a name that says secret; their shape alone is anything's.
KEYS_BY_NAME = {
    "AWS_SECRET_ACCESS_KEY": _random("asak", 40, _LETTERS + "/+"),
    "WANDB_API_KEY": _hex("wandb", 40),
    "COHERE_API_KEY": _random("cohere", 40),
    "TOGETHER_API_KEY": _hex("together", 64),
    "MISTRAL_API_KEY": _random("mistral", 32),
    "ELEVENLABS_API_KEY": _hex("eleven", 32),
    "CLOUDFLARE_API_TOKEN": _random("cf", 40),
    "DEEPGRAM_API_KEY": _hex("dg", 40),
    "TWILIO_AUTH_TOKEN": _hex("tw", 32),
    "VOYAGE_API_KEY": "pa-" + _random("vo", 43),
    "DB_PASSWORD": _random("pw", 20),
    "jwt_secret": _hex("jwts", 64),
}

# None of them is a key, wherever it stands.
LOOK_ALIKES = [
    _hex("git", 40),  # a commit
    _hex("short", 12),
    "sha256:" + _hex("digest", 64),
    "nvcr.io/nvidia/pytorch@sha256:" + _hex("image", 64),
    "d41d8cd98f00b204e9800998ecf8427e",  # an MD5
    "6ba7b810-9dad-11d1-80b4-00c04fd430c8",  # a UUID
    "ap-" + _random("app", 22), "fu-" + _random("function", 22), "im-" + _random("picture", 22),
    "ta-" + _random("task", 22), "sb-" + _random("box", 22), "vo-" + _random("volume", 22),
    "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg==",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "meta-llama/Llama-3.1-8B-Instruct", "sentence-transformers/all-MiniLM-L6-v2", "Qwen/Qwen2.5-VL-72B-Instruct-AWQ",
    "hf_hub_download", "hf_transfer_enabled_by_default_2025", "sk-learn-style-estimators-v2", "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "sk-...", "sk-proj-your-key-here-0000", "sk-ant-api03-...", "sk-1234567890abcdef1234567890abcdef", "hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "hf_YOUR_TOKEN_HERE_12345", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "<your-openai-api-key>", "${OPENAI_API_KEY}", "$HF_TOKEN", "{api_key}", "Bearer {token}", "Authorization: Bearer $TOKEN", "os.environ['HF_TOKEN']",
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
    "postgresql://user:password@localhost:5432/db", "postgres://postgres:postgres@db:5432/postgres", "mysql+pymysql://root:root@127.0.0.1/test",
    "mongodb://admin:admin@mongo:27017", "redis://localhost:6379/0", "postgresql://{user}:{password}@{host}/{name}", "amqp://guest:guest@rabbitmq:5672/",
    "postgres://USER:PASS@HOST:5432/DB", "postgresql://username:yourpassword@your-host.example.com/db", "https://user:pass@example.com/",
    "postgresql://app:$DB_PASSWORD@pg.acme-co.net/main", "https://github.com/owner/repo.git@" + _hex("commit", 40),
    "https://huggingface.co/BAAI/bge-m3/resolve/" + _hex("revision", 40) + "/model.onnx",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3fJ0r0x1Q2w3E4r5T6y7U8i9O0pAaSsDdFfGgHhJj k user@host", "-----BEGIN PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----",
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----", "xoxb-your-slack-token", "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
    "pk_live_" + _random("publishable", 24), "sk_test_" + _random("stripe test", 24), "phc_" + _random("posthog", 43),
    "s3://bucket/checkpoints/step-00012000/model-00001-of-00004.safetensors", "projects/shop-412907/locations/us-central1", "123456789012.dkr.ecr.us-east-1.amazonaws.com/app",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPBdG", "0x71C7656EC7ab88b098defB751B7401B5f6d8976F",
]  # fmt: skip

# Values that stand under a name that says secret and are none.
LOOK_ALIKES_BY_NAME = [
    ("api_key", "EMPTY"), ("API_KEY", "not-needed"), ("OPENAI_API_KEY", "sk-no-key-required"), ("token", "hf"),
    ("HF_TOKEN", "your_hugging_face_token_1"), ("api_key", "test-key-0123456789abcdef"), ("SECRET_KEY", "dev-secret-key-change-me-1"),
    ("secret", "my-huggingface-secret-2"), ("password", "correct horse battery staple 9"), ("PASSWORD", "postgres"),
    ("tokenizer", "meta-llama/Llama-3.1-8B"), ("pad_token", "<|endoftext|>"), ("eos_token", "<|im_end|>"), ("max_token", "4096"),
    ("api_key", "projects/shop-412907/secrets/openai/versions/3"), ("SECRET", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-AbC123"),
    ("API_TOKEN", "op://vault/openai/credential-1"), ("password", "{{ vault_db_password_2 }}"), ("api_key", "os.environ['OPENAI_API_KEY_2']"),
    ("access_token", "https://auth.acme-co.net/oauth2/v2.0/token"), ("special_token", "<|reserved_special_token_250|>"),
    ("mask_token", "[MASK]"), ("token_id", _random("id", 20)), ("num_token", "128256"), ("HF_TOKEN", ""), ("api_key", "dummy-key-1234567890"),
    ("secret_key", "settings.production.SECRET_KEY_V2"), ("auth_token", "x-api-key-header-name-v1"), ("password", "********"),
]  # fmt: skip


def found(name: str, text: str) -> bool:
    """Whether a text given to a variable of a Modal file is called a key."""
    source = parse_source("a.py", f"import modal\n\n{name} = {text!r}\n")
    return bool(check_source(source, Settings(select=("MK201", "MK202"))))


@pytest.mark.parametrize("vendor", KEYS)
def test_a_vendors_key_is_found_under_any_name(vendor):
    """The shape alone tells."""
    assert found("value", KEYS[vendor])


@pytest.mark.parametrize("name", KEYS_BY_NAME)
def test_a_key_without_a_shape_is_found_by_its_name(name):
    """A random text is a key where its name says so, and nothing anywhere else."""
    assert found(name, KEYS_BY_NAME[name])
    assert not found("value", KEYS_BY_NAME[name])


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_what_looks_like_a_key_is_none(text):
    """Commits, digests, ids, names of models, placeholders and examples of documentation are left alone."""
    assert not found("value", text)


@pytest.mark.parametrize(("name", "text"), LOOK_ALIKES_BY_NAME)
def test_what_stands_under_a_secret_name_may_be_none(name, text):
    """Placeholders, references to a secret and special tokens are left alone under any name."""
    assert not found(name, text)
