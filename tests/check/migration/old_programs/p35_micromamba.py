"""2023: conda images. Only read: building one needs the package servers of conda."""
# modalkit-test: load
import modal

stub = modal.Stub("conda-images")
image = (
    modal.Image.conda(python_version="3.11")
    .conda_install("numpy", "pandas")
    .conda_install("cudatoolkit=11.7", channels=["nvidia", "conda-forge"])
    .conda_update_from_environment("environment.yml")
)


@stub.function(image=image, gpu="any")
def f():
    return 1
