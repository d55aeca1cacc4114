from __future__ import annotations

import string
import traceback
from itertools import pairwise

import modal
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modalkit.declare.secrets import Secret, holds_credential, merge_secrets, secrets_to_modal
from modalkit.errors import DeclarationError

# Made up, in the shapes of real ones.
PASTED = [
    "hf_" + "aBcDeFgHiJkLmNoPqRsT",
    "sk-proj-" + "abc123DEF456ghi789JKL",
    "ghp_" + "0123456789abcdefABCD",
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "as-" + "abcdefghijklmnopqrstuv",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0",
    "xK9fQ2mZ8rT4vB7nL1wY3sD6",
    "0b9f6e2a-1c3d-4e5f-8a7b-9c0d1e2f3a4b",
    "HF_TOKEN=abc",
    "two words",
    "p@ssw0rd!",
]
NAMES = [
    "huggingface",
    "hf_token",
    "my-postgres-credentials_2024",
    "HuggingFaceProductionSecret2026",
    "modalkit-api-key",
    "openai.prod",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_names(name):
    """Ordinary names of Secrets are accepted as they are."""
    assert Secret(name).name == name


@pytest.mark.parametrize("pasted", PASTED)
def test_a_value_in_place_of_a_name_is_refused_and_never_shown(pasted):
    """Neither the message nor the traceback repeats what was pasted."""
    try:
        Secret(pasted)
    except DeclarationError as error:
        told = "".join(traceback.format_exception(error))
    assert pasted not in told.replace(repr(__file__), "")
    assert "not shown" in told
    assert "modal secret create NAME KEY=..." in told


@pytest.mark.parametrize("pasted", [*PASTED, "hf-token", "", 7, b"x"])
def test_a_value_in_place_of_a_key_is_refused_and_never_shown(pasted):
    """A required key is the name of a variable; anything else is refused unseen."""
    with pytest.raises(DeclarationError) as raised:
        Secret("hub", keys=["HF_TOKEN", pasted])
    assert "Secret('hub').keys[1]" in str(raised.value)
    assert not pasted or str(pasted) not in str(raised.value).replace("HF_TOKEN", "")


@given(st.text(string.ascii_letters + string.digits, min_size=30, max_size=60))
def test_random_text_is_seldom_a_name(text):
    """A run of random letters and digits is refused, or is regular enough to be a name."""
    changes = sum(_kind(one) != _kind(other) for one, other in pairwise(text))
    random_looking = any(char.isdigit() for char in text) and 3 * changes > len(text)
    if random_looking:
        with pytest.raises(DeclarationError):
            Secret(text)


def _kind(char: str) -> int:
    return char.isdigit() + 2 * char.isupper()


def test_credentials_are_found_inside_text():
    """A key in the middle of a command is seen; ordinary words are not keys."""
    assert holds_credential(f"curl -H 'Authorization: Bearer {PASTED[0]}' https://x.example")
    assert not holds_credential("pip install sk-learn-extra hf_transfer task-runner")


@pytest.mark.parametrize("name", [b"bytes", None, 3])
def test_a_name_is_text(name):
    """Another type is named by its type alone."""
    with pytest.raises(DeclarationError, match=r"Secret\.name must be a string"):
        Secret(name)


def test_merging_keeps_order_and_keys():
    """A Secret named twice stands where it last stood, with the keys of both."""
    merged = merge_secrets([Secret("a", keys=["X"]), Secret("b"), Secret("a", keys=["Y", "X"])])
    assert merged == (Secret("b"), Secret("a", keys=["X", "Y"]))


def test_the_same_name_in_two_environments_is_two_secrets():
    """Only the same name in the same environment is merged."""
    pair = (Secret("a"), Secret("a", environment_name="prod"))
    assert merge_secrets(pair) == pair


names = st.sampled_from(["a", "b", "c"])
keys = st.lists(st.sampled_from(["X", "Y", "Z"]), max_size=2)


@given(st.lists(st.builds(lambda name, keys: Secret(name, keys=keys), names, keys), max_size=6))
def test_merging_twice_changes_nothing(secrets):
    """Merging is idempotent, loses no key, and the last name stays last."""
    merged = merge_secrets(secrets)
    assert merge_secrets(merged) == merged
    held = {(secret.name, key) for secret in secrets for key in secret.keys}
    assert {(secret.name, key) for secret in merged for key in secret.keys} == held
    assert [secret.name for secret in merged[-1:]] == [secret.name for secret in secrets[-1:]]


def test_modal_takes_it():
    """References compile to modal.Secret without a network, and a function accepts them."""
    compiled = secrets_to_modal([Secret("hub", keys=["HF_TOKEN"]), Secret("db")])
    assert all(isinstance(secret, modal.Secret) for secret in compiled)
    assert [secret.name for secret in compiled] == ["hub", "db"]
    modal.App().function(secrets=compiled, serialized=True)(lambda: None)
