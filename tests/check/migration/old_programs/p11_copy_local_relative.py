"""2023-12: files copied to the working directory of the image, or one that is set."""
import modal

image = (
    modal.Image.debian_slim()
    .workdir("/srv")
    .copy_local_file("settings.json")
    .copy_local_dir("data", "./data")
    .copy_local_file(local_path="requirements.txt", remote_path="reqs.txt")
)
plain = modal.Image.debian_slim().copy_local_file("settings.json").run_commands("test -f settings.json")
stub = modal.Stub("copy-relative")


@stub.function(image=image)
def read():
    return open("/srv/data/hello.txt").read() + open("/srv/settings.json").read() + open("/srv/reqs.txt").read()


@stub.function(image=plain)
def other():
    return 1


@stub.local_entrypoint()
def main():
    assert read.remote() == 'hello{"size": 3}requests\n'
    assert other.remote() == 1
    print("done")
