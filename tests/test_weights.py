from __future__ import annotations

import os
import subprocess
import sys

import modal
import pytest

from modalkit.declare.weights import WeightCache
from modalkit.errors import DeclarationError


def refused(make) -> str:
    with pytest.raises(DeclarationError) as raised:
        make()
    return str(raised.value)


def test_everything_cached_is_on_the_volume():
    """The hub and every compile cache point below the mount point, wherever that is."""
    env = WeightCache("qwen3", mount="/models").env
    paths = {name: value for name, value in env.items() if value.startswith("/")}
    assert len(paths) >= 9
    assert all(value.startswith("/models/") for value in paths.values())
    assert len(set(paths.values())) == len(paths)
    assert env["HF_HUB_CACHE"] == f"{env['HF_HOME']}/hub"
    assert "HF_HUB_OFFLINE" not in env


def test_a_read_only_cache_is_never_written():
    """With read_only, only the hub's files are read from the Volume, offline; the rest is scratch."""
    env = WeightCache("qwen3", read_only=True).env
    on_volume = {name for name, value in env.items() if value.startswith("/cache/")}
    assert on_volume == {"HF_HUB_CACHE"}
    assert env["HF_HUB_OFFLINE"] == "1"


def test_the_hub_listens_to_the_variables(tmp_path):
    """The installed huggingface_hub and torch read the variables under the names we set."""
    env = {**os.environ, **WeightCache("qwen3", mount="/models").env}
    code = (
        "from huggingface_hub import constants as c; from torch._inductor.runtime import cache_dir_utils as t;"
        "import inspect;"
        "print(c.HF_HOME, c.HF_HUB_CACHE, c.HF_XET_HIGH_PERFORMANCE);"
        "print('TORCHINDUCTOR_CACHE_DIR' in inspect.getsource(t), 'TRITON_CACHE_DIR' in inspect.getsource(t))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True
    )
    assert done.stdout.split() == [
        "/models/huggingface", "/models/huggingface/hub", "True", "True", "True",
    ]  # fmt: skip


def test_paths_stay_on_the_volume():
    """A path is below the mount point, and one that would leave it is refused."""
    cache = WeightCache("runs", mount="/data")
    assert cache.path() == "/data"
    assert cache.path("a", "b.pt") == "/data/a/b.pt"
    assert "path('..', 'etc') leads out of the Volume" in refused(lambda: cache.path("..", "etc"))
    assert "leads out of the Volume" in refused(lambda: cache.path("/etc"))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "my cache"}, "Write 'my-cache'."),
        ({"name": ""}, "is not a name Modal accepts"),
        ({"name": "a" * 65}, f"Write '{'a' * 64}'."),
        ({"mount": "cache"}, "Write '/cache'"),
        ({"mount": "/cache/"}, "Write '/cache'"),
        ({"mount": "/"}, "belongs to the system"),
        ({"mount": "/root"}, "belongs to the system"),
        ({"mount": "/tmp"}, "belongs to the system"),
        ({"mount": "/usr/local/models"}, "/usr belongs to the system"),
        ({"mount": "/root/.cache"}, "where engine images ship files"),
        ({"mount": "/root/.cache/huggingface"}, "where engine images ship files"),
        ({"version": 3}, "must be 1 or 2, got 3."),
        ({"sub_path": "/"}, "Leave sub_path out"),
        ({"sub_path": "../x"}, "Write sub_path='x'."),
        ({"environment_name": "en-1"}, "is not the name of a Modal environment"),
    ],
)
def test_impossible_caches_are_refused(fields, told):
    """A name Modal refuses or a mount point that is taken names the remedy."""
    assert told in refused(lambda: WeightCache(**{"name": "w", **fields}))


@pytest.mark.parametrize("mount", ["/cache", "/models", "/root/models", "/mnt/a", "/opt/cache"])
def test_ordinary_mount_points_are_accepted(mount):
    """Places that nothing else owns are free."""
    assert WeightCache("w", mount=mount).mount == mount


@pytest.mark.parametrize("mount", ["/", "/root", "/tmp"])
def test_modal_refuses_the_same_mount_points(mount):
    """What the client refuses by name, we refuse before it."""
    volume = modal.Volume.from_name("w")
    with pytest.raises(modal.exception.InvalidError):
        modal.App().function(volumes={mount: volume}, serialized=True)(lambda: None)


@pytest.mark.parametrize(
    "cache", [WeightCache("w"), WeightCache("w", read_only=True, sub_path="/a", version=1)]
)
def test_modal_takes_it(cache):
    """The cache compiles to volumes= without a network, and a function accepts it with its env."""
    volumes = cache.to_modal()
    assert list(volumes) == [cache.mount]
    assert isinstance(volumes[cache.mount], modal.Volume)
    modal.App().function(volumes=volumes, env=cache.env, serialized=True)(lambda: None)
