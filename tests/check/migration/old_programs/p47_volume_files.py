"""2024: files of a volume listed with stars, objects deleted by name."""
import modal

app = modal.App("volume-files")
volume = modal.Volume.from_name("volume-files", create_if_missing=True)


@app.function(volumes={"/v": volume})
def write():
    import os

    os.makedirs("/v/a/b", exist_ok=True)
    open("/v/a/b/c.txt", "w").write("c")
    volume.commit()


@app.local_entrypoint()
def main():
    write.remote()
    assert [one.path for one in volume.listdir("/a/**")][-1] == "a/b/c.txt"
    modal.Volume.delete("volume-files")
    print("done")
