"""2023-12: volumes, dicts and queues by persisted()."""
import modal

stub = modal.Stub("storage-persisted")
volume = modal.Volume.persisted("persisted-volume")
d = modal.Dict.persisted("persisted-dict")
q = modal.Queue.persisted("persisted-queue")


@stub.function(volumes={"/vol": volume}, _allow_background_volume_commits=True)
def write(text):
    with open("/vol/x.txt", "w") as f:
        f.write(text)
    volume.commit()
    d["x"] = text
    q.put(text)


@stub.local_entrypoint()
def main():
    write.remote("abc")
    assert d["x"] == "abc"
    assert q.get() == "abc"
    print("done")
