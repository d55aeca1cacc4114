"""2024: network file systems beside volumes; unsafe, because a Volume starts empty."""
# modalkit-test: unsafe
import modal

app = modal.App("network-file-system")
nfs = modal.NetworkFileSystem.persisted("nfs-a")
other = modal.NetworkFileSystem.from_name("nfs-b", create_if_missing=True)
volume = modal.Volume.from_name("nfs-volume", create_if_missing=True)


@app.function(network_file_systems={"/nfs": nfs}, volumes={"/vol": volume})
def both():
    import os

    return sorted(one for one in ("/nfs", "/vol") if os.path.isdir(one))


@app.function(network_file_systems={"/nfs": other})
def alone():
    return 1


@app.local_entrypoint()
def main():
    assert both.remote() == ["/nfs", "/vol"]
    assert alone.remote() == 1
    print("done")
