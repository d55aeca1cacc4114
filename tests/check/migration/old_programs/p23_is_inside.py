"""2023-10: imports that only hold in a container."""
import modal

stub = modal.Stub("is-inside")
image = modal.Image.debian_slim().env({"A": "1"})

if stub.is_inside(image):
    import json
    import os

if stub.is_inside():
    WHERE = "inside"
else:
    WHERE = "outside"

with image.run_inside():
    import csv


@stub.function(image=image)
def where():
    return WHERE, json.dumps({"a": os.environ["A"]}), csv.__name__


@stub.local_entrypoint()
def main():
    assert where.remote() == ("inside", '{"a": "1"}', "csv")
    assert not stub.is_inside()
    print("done")
