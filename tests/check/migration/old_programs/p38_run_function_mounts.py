"""2024: files and secrets for a step of the build."""
import modal


def prepare():
    import os

    assert os.environ["KEY"] == "v"
    with open("/root/made.txt", "w") as f:
        f.write(open("/root/settings.json").read())


image = modal.Image.debian_slim().run_function(
    prepare,
    mounts=[modal.Mount.from_local_file("settings.json", remote_path="/root/settings.json")],
    secret=modal.Secret.from_dict({"KEY": "v"}),
)
app = modal.App("run-function-mounts")


@app.function(image=image)
def read():
    return open("/root/made.txt").read()


@app.local_entrypoint()
def main():
    assert read.remote() == '{"size": 3}'
    print("done")
