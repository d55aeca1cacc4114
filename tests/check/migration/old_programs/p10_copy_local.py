"""2024-09: files copied into the image."""
import modal

image = (
    modal.Image.debian_slim()
    .copy_local_file("settings.json", "/root/settings.json")  # first
    .copy_local_dir("data", "/root/data")
    .copy_local_file("requirements.txt", remote_path="/opt/")
    .run_commands("test -f /root/settings.json", "test -f /opt/requirements.txt")
)
app = modal.App("copy-local", image=image)


@app.function()
def read():
    return open("/root/data/hello.txt").read() + open("/root/settings.json").read()


@app.local_entrypoint()
def main():
    assert read.remote() == 'hello{"size": 3}'
    print("done")
