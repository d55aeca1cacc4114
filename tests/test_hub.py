"""What is asked of the model hub: by the real client, of a stand-in that speaks the hub's API."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

QWEN = {
    "model_type": "qwen3",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 100,
    "max_position_embeddings": 512,
    "torch_dtype": "bfloat16",
}

ASK = """
import json, sys
from modalkit.hub import find_model, read_headers
from modalkit.errors import ModalkitError
try:
    model = find_model(*sys.argv[1:])
    single = [file.name for file in model.weights] == ["model.safetensors"]
    print(json.dumps({
        "commit": model.commit,
        "parameters": model.facts().total_parameters,
        "stored": sum(read_headers(model).counts.values()) if single else None,
        "weights": [file.model_dump() for file in model.weights],
    }))
except ModalkitError as error:
    print(json.dumps({"error": str(error), "kind": type(error).__name__}))
"""


def ask(*arguments: str, **environment: str) -> dict[str, object]:
    """Ask the hub in a fresh process, since its client reads the environment when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "hf_secret" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def safetensors(parameters: int) -> bytes:
    """A whole safetensors file of one bf16 tensor, padded so that it is more than its header."""
    tensor = {"dtype": "BF16", "shape": [parameters], "data_offsets": [0, 2 * parameters]}
    header = json.dumps({"weight": tensor}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(2 * parameters)


def sharded() -> dict[str, object]:
    """A repository with an index, its two shards, and files that no engine loads."""
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = {"metadata": {}, "weight_map": {"a": names[0], "b": names[1], "c": names[1]}}
    return {
        "config.json": QWEN,
        "model.safetensors.index.json": index,
        names[0]: b"one" * 100,
        names[1]: b"two" * 50,
        "original/model.safetensors": b"x" * 1000,
        "consolidated.safetensors": b"y" * 1000,
    }


def test_a_sharded_model_is_named_file_by_file(hub):
    """Commit, and size and SHA-256 of the files in the index only; no byte of them is fetched."""
    hub.add("org/model", sharded(), commit="a" * 40)
    found = ask("org/model")
    assert found["commit"] == "a" * 40
    assert found["weights"] == [
        {"name": "model-00001-of-00002.safetensors", "size": 300, "sha256": sha(b"one" * 100)},
        {"name": "model-00002-of-00002.safetensors", "size": 150, "sha256": sha(b"two" * 50)},
    ]
    assert not [path for _, path, _ in hub.requests if path.endswith(".safetensors")]


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_single_file_is_read_by_its_header(hub):
    """Of one weight file only the first bytes are asked for, by a range request."""
    content = safetensors(500_000)
    hub.add("org/model", {"config.json": QWEN, "model.safetensors": content})
    found = ask("org/model")
    assert found["stored"] == 500_000
    ranges = [asked for _, path, asked in hub.requests if path.endswith(".safetensors")]
    assert ranges
    assert set(ranges) == {"bytes=0-100000"}


def test_a_revision_is_followed_to_its_commit(hub):
    """A branch, and a commit, are answered with the commit."""
    hub.add("org/model", {"config.json": QWEN}, branches={"v2": "b" * 40})
    assert ask("org/model", "v2")["commit"] == "b" * 40
    assert ask("org/model", "b" * 40)["commit"] == "b" * 40


def test_offline_the_cache_answers(hub):
    """With HF_HUB_OFFLINE what was asked once is answered without the network."""
    hub.add("org/model", sharded())
    asked = ask("org/model", "main")
    before = len(hub.requests)
    offline = ask("org/model", HF_HUB_OFFLINE="1")
    assert offline["commit"] == asked["commit"]
    assert offline["parameters"] == asked["parameters"]
    assert len(hub.requests) == before
    missing = ask("org/other", HF_HUB_OFFLINE="1")
    assert "'org/other' is not in the cache of this machine, and HF_HUB_OFFLINE" in missing["error"]


def test_the_token_comes_from_the_environment(hub):
    """HF_TOKEN opens a private model and is sent; a token that somebody logged in with is not."""
    hub.add("org/private", {"config.json": QWEN}, token="hf_secret")
    stored = Path(os.environ["HF_HOME"])
    stored.mkdir(parents=True)
    (stored / "token").write_text("hf_secret")
    refused = ask("org/private")
    assert "no public model 'org/private'" in refused["error"]
    assert "set HF_TOKEN" in refused["error"]
    assert set(hub.tokens) == {None}
    assert "commit" in ask("org/private", HF_TOKEN="hf_secret")
    assert "account of HF_TOKEN" in ask("org/private", HF_TOKEN="hf_secret_of_another")["error"]


def test_a_gated_model_says_what_to_do(hub):
    """Terms that were not accepted are said as such, with the token where there is none."""
    hub.add("org/gated", {"config.json": QWEN}, gated=True, token="hf_secret")
    message = ask("org/gated")["error"]
    assert message.startswith(
        "'org/gated' is gated. Accept its terms on its page on the hub and set HF_TOKEN"
    )
    assert "HF_TOKEN" not in ask("org/gated", HF_TOKEN="hf_secret_of_another")["error"]
    assert "commit" in ask("org/gated", HF_TOKEN="hf_secret")


def test_too_many_requests_say_when_to_come_back(hub):
    """429 names the wait that the hub asks for."""
    hub.refuse = (429, {"Retry-After": "77"})
    message = ask("org/model")["error"]
    assert "429" in message
    assert "Run this again in 77 s, or set HF_TOKEN" in message


@pytest.mark.parametrize(
    ("status", "message"),
    [(500, "The hub answered 500"), (503, "HF_HUB_OFFLINE=1"), (403, "HF_TOKEN is not valid")],
)
def test_other_refusals_name_the_status(hub, status, message):
    """A hub with a problem of its own is told apart from a wrong id."""
    hub.refuse = (status, {})
    assert message in ask("org/model")["error"]


def test_a_hub_that_is_down(hub):
    """No connection names the address and what to check."""
    message = ask("org/model", HF_ENDPOINT="http://127.0.0.1:9")["error"]
    assert message.startswith(
        "http://127.0.0.1:9 cannot be reached (ConnectError). Check the network"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("org/model", "v9"), "has no revision 'v9'"),
        (("org/empty",), "has no config.json"),
        (("org/broken",), "config.json of the model does not read as JSON"),
        (("a/b/c",), "is not a hub id. Write one such as"),
    ],
)
def test_what_is_not_there(hub, arguments, message):
    """A missing revision, config, and a name that is no id each have their own answer."""
    hub.add("org/model", {"config.json": QWEN})
    hub.add("org/empty", {"README.md": b"x"})
    hub.add("org/broken", {"config.json": b"{"})
    assert message in ask(*arguments)["error"]


def size(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``modalkit size``."""
    return subprocess.run(
        [sys.executable, "-c", "from modalkit.cli import main; main()", "size", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_size_asks_the_hub(hub, tmp_path):
    """``modalkit size org/model@revision`` sizes it at a commit, and says the same as for its folder."""
    hub.add("org/model", sharded(), branches={"v2": "b" * 40})
    (tmp_path / "config.json").write_text(json.dumps(QWEN))
    asked = json.loads(size("org/model@v2", "--json").stdout)
    local = json.loads(size(str(tmp_path), "--json").stdout)
    assert (asked["commit"], asked["stored_bytes"]) == ("b" * 40, 450)
    assert asked["total_parameters"] == local["total_parameters"]
    assert asked["picks"] == local["picks"]


def test_size_tells_a_misspelt_folder_from_a_model(hub):
    """What is neither a folder nor a hub id does not reach the network."""
    done = size("./nowhere")
    assert done.returncode == 1
    assert "There is no folder or file './nowhere'" in done.stderr
    assert not hub.requests


def llama(tie: bool | None) -> dict[str, object]:
    """A config of a model that `stored_llama` stores."""
    return {**QWEN, "model_type": "llama", "head_dim": 16, "tie_word_embeddings": tie}


def stored_llama(*, head: bool, more: int = 0) -> dict[str, list[int]]:
    """Shapes of the tensors of a small Llama, with or without an output head of its own."""
    layer = {
        "self_attn.q_proj": [64, 64],
        "self_attn.k_proj": [32, 64],
        "self_attn.v_proj": [32, 64],
    }
    layer |= {"self_attn.o_proj": [64, 64], "mlp.gate_proj": [128, 64], "mlp.up_proj": [128, 64]}
    layer |= {"mlp.down_proj": [64, 128], "input_layernorm": [64], "post_attention_layernorm": [64]}
    shapes = {"model.embed_tokens.weight": [100, 64], "model.norm.weight": [64]}
    shapes |= {
        f"model.layers.{i}.{name}.weight": size for i in (0, 1) for name, size in layer.items()
    }
    shapes |= {"lm_head.weight": [100, 64]} if head else {}
    return shapes | ({"model.extra.weight": [more]} if more else {})


def as_file(shapes: dict[str, list[int]]) -> bytes:
    """A safetensors file with tensors of these shapes in bf16."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def in_two(shapes: dict[str, list[int]]) -> dict[str, object]:
    """The same in two files with an index that has no total."""
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    half = len(shapes) // 2
    parts = [dict(list(shapes.items())[:half]), dict(list(shapes.items())[half:])]
    index = {tensor: names[at] for at, part in enumerate(parts) for tensor in part}
    files = {name: as_file(part) for name, part in zip(names, parts, strict=True)}
    return {"model.safetensors.index.json": {"weight_map": index}, **files}


def sized(*arguments: str) -> dict[str, object]:
    """What ``modalkit size org/model --json`` says."""
    done = size("org/model", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_headers_say_whether_the_head_is_tied(hub):
    """Where the config leaves it open and the files have no output head, it is the embedding."""
    hub.add("org/model", {"config.json": llama(False), **in_two(stored_llama(head=False))})
    found = sized()
    parameters = sum(math.prod(shape) for shape in stored_llama(head=False).values())
    assert found["total_parameters"] == found["stored_parameters"] == parameters
    assert found["stored_bytes"] == found["loaded_bytes"] == 2 * parameters


def test_headers_of_every_shard_are_read_where_sizes_differ(hub):
    """What the files hold beyond the config is counted by their headers, of which each is asked by range."""
    hub.add(
        "org/model", {"config.json": llama(False), **in_two(stored_llama(head=True, more=50_000))}
    )
    found = sized()
    parameters = sum(math.prod(shape) for shape in stored_llama(head=True).values())
    assert found["total_parameters"] == found["stored_parameters"] == parameters + 50_000
    assert found["loaded_bytes"] == 2 * (parameters + 50_000)
    ranges = [asked for _, path, asked in hub.requests if path.endswith(".safetensors")]
    assert ranges
    assert set(ranges) == {"bytes=0-100000"}


def test_headers_are_not_asked_where_the_sizes_are_certain(hub):
    """Files of just the size that the config says are left alone; ``--headers`` reads them all the same."""
    config = {
        **llama(False),
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 64,
    }
    layer = {
        "self_attn.q_proj": [1024, 1024],
        "self_attn.k_proj": [32, 1024],
        "mlp.up_proj": [4096, 1024],
    }
    layer |= {"self_attn.v_proj": [32, 1024], "self_attn.o_proj": [1024, 1024]}
    layer |= {"mlp.gate_proj": [4096, 1024], "mlp.down_proj": [1024, 4096]}
    layer |= {"input_layernorm": [1024], "post_attention_layernorm": [1024]}
    shapes = {"model.embed_tokens.weight": [100, 1024], "lm_head.weight": [100, 1024]}
    shapes |= {
        f"model.layers.{i}.{name}.weight": size for i in (0, 1) for name, size in layer.items()
    }
    hub.add("org/model", {"config.json": config, **in_two(shapes | {"model.norm.weight": [1024]})})
    parameters = sum(math.prod(shape) for shape in shapes.values()) + 1024
    assert (sized()["stored_parameters"], sized()["total_parameters"]) == (0, parameters)
    assert not [path for _, path, _ in hub.requests if path.endswith(".safetensors")]
    assert sized("--headers")["stored_parameters"] == parameters


@pytest.mark.parametrize(
    ("files", "environment", "message"),
    [
        ({"pytorch_model.bin": b"x"}, {}, "has no safetensors files, and only those have headers"),
        ({"model.safetensors": b"no header at all"}, {}, "The header of 'org/model'"),
        ({"model.safetensors": b"x"}, {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
    ],
)
def test_headers_that_cannot_be_read_are_said(hub, files, environment, message):
    """``--headers`` without headers to read says why."""
    hub.add("org/model", {"config.json": QWEN, **files})
    size("org/model")
    done = size("org/model", "--headers", **environment)
    assert done.returncode == 1
    assert message in done.stderr
