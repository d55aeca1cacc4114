"""A Gradio page that is public on purpose, over a model class that is not."""

import modal

ui_image = modal.Image.debian_slim(python_version="3.12").uv_pip_install(
    "fastapi[standard]==0.115.4", "gradio==5.49.1", "pillow==11.1.0"
)
model_image = (
    modal.Image.debian_slim(python_version="3.12")
    .uv_pip_install("torch==2.8.0", "torchvision==0.23.0", "ultralytics==8.3.203")
    .apt_install("libgl1", "libglib2.0-0")
)
app = modal.App("count-things")
weights = modal.Volume.from_name("yolo", create_if_missing=True)


@app.cls(image=model_image, gpu="T4", volumes={"/weights": weights}, max_containers=3)
class Counter:
    @modal.enter()
    def load(self):
        from ultralytics import YOLO

        self.model = YOLO("/weights/yolo11n.pt")

    @modal.method()
    def count(self, picture: bytes) -> int:
        from io import BytesIO

        from PIL import Image

        return len(self.model(Image.open(BytesIO(picture)))[0].boxes)


# A demo for everybody: public on purpose, and kept small by max_containers.
@app.function(image=ui_image, max_containers=1)
@modal.concurrent(max_inputs=100)
@modal.asgi_app()
def ui():
    import gradio as gr
    from fastapi import FastAPI
    from gradio.routes import mount_gradio_app

    def go(path: str) -> str:
        with open(path, "rb") as file:
            return str(Counter().count.remote(file.read()))

    interface = gr.Interface(fn=go, inputs=gr.Image(type="filepath"), outputs="text")
    return mount_gradio_app(app=FastAPI(), blocks=interface, path="/")
