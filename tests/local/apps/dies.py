"""An app whose containers end while they import it."""

import modal

app = modal.App("dies")

if not modal.is_local():
    print("imported in a container")
    msg = "no such model"
    raise RuntimeError(msg)


@app.function(min_containers=1)
def never() -> None: ...
