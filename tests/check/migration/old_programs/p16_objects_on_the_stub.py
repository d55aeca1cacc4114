"""2023-08: an image and objects as attributes and items of the stub."""
import modal

stub = modal.Stub("objects-on-the-stub")
stub.image = modal.Image.debian_slim().env({"COLOUR": "blue"})
stub.results = modal.Dict.persisted("stub-results")
stub["jobs"] = modal.Queue.persisted("stub-jobs")


@stub.function()
def work():
    import os

    stub.results["colour"] = os.environ["COLOUR"]
    stub["jobs"].put(1)


@stub.function(image=stub.image)
def same():
    import os

    return os.environ["COLOUR"]


@stub.local_entrypoint()
def main():
    work.remote()
    assert stub.results["colour"] == "blue"
    assert stub["jobs"].get() == 1
    assert same.remote() == "blue"
    print("done")
