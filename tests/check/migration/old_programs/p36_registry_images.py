"""2023-06: images from the hub of Docker. Only read: there is none here to pull from."""
# modalkit-test: load
import modal
from modal import Image

stub = modal.Stub("registry-images")
cuda = modal.Image.from_dockerhub(
    "nvidia/cuda:12.1.1-devel-ubuntu22.04",
    setup_dockerfile_commands=["RUN echo hi"],
    add_python="3.11",
)
other = Image.from_dockerhub("python:3.11-slim")


@stub.function(image=cuda, gpu=modal.gpu.A100(memory=80))
def f():
    return 1


@stub.function(image=other)
def g():
    return 2
