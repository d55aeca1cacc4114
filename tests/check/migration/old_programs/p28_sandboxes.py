"""2024-06: sandboxes spawned from the app."""
import modal

app = modal.App("sandboxes")
image = modal.Image.debian_slim()


@app.local_entrypoint()
def main():
    sb = app.spawn_sandbox("python", "-c", "print(open('/d/hello.txt').read())", image=image, timeout=60,
                           mounts=[modal.Mount.from_local_dir("data", remote_path="/d")])
    sb.wait()
    assert sb.stdout.read().strip() == "hello", sb.stderr.read()
    print("done")
