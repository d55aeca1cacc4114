"""2023: flags among the packages, secrets in the singular."""
import modal

image = modal.Image.debian_slim().pip_install("packaging", "--no-deps", "--quiet")
stub = modal.Stub("pip-flags")


@stub.function(
    image=image,
    secret=modal.Secret.from_dict({"TOKEN": "x"}),
    interactive=False,
)
def f():
    import os

    return os.environ["TOKEN"]


@stub.function(secret=modal.Secret({"B": "c"}), secrets=[modal.Secret.from_dict({"D": "e"})])
def g():
    import os

    return os.environ["B"] + os.environ["D"]


@stub.local_entrypoint()
def main():
    assert f.remote() == "x"
    assert g.remote() == "ce"
    print("done")
