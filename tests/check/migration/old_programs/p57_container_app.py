"""2023-02: objects read out of the app that runs, a mount by its constructor, two stubs."""
import modal

stub = modal.Stub("container-app")
stub.results = modal.Dict.persisted("container-app-results")
stub["jobs"] = modal.Queue.persisted("container-app-jobs")

shared = modal.Stub("container-app-shared")
shared["kept"] = modal.Dict.persisted("container-app-shared")


@stub.function
def paint(colour):
    return colour.upper()


@stub.function(mounts=[modal.Mount("/data", local_dir="data")])
def work():
    from pathlib import Path

    modal.container_app.results["names"] = sorted(one.name for one in Path("/data").iterdir())
    modal.container_app["jobs"].put(modal.container_app.paint.call("blue"))
    stub.app.results["asked"] = True


@stub.local_entrypoint
def main():
    work.call()
    assert stub.results["names"] and stub.results["asked"]
    assert stub["jobs"].get() == "BLUE"
    shared["kept"]["once"] = 1
    assert "once" not in stub.results
    print("done")
