"""2024-03: mounts shared through a dict of options, and a chain of them."""
from pathlib import Path

import modal
from modal import Mount, Stub

stub = Stub("mounts-in-options")
image = modal.Image.debian_slim()
files = Mount.from_local_dir("data", remote_path="/files").add_local_file(
    "settings.json", remote_path="/files.json"
)
SHARED = dict(mounts=[files], image=image, concurrency_limit=2)


@stub.function(**SHARED)
def first():
    return Path("/files.json").exists()


@stub.function(**SHARED, timeout=60)
def second():
    return Path("/files").is_dir()


@stub.local_entrypoint()
def main():
    assert first.remote() and second.remote()
    print("done")
