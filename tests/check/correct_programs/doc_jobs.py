"""A job queue: one app takes documents and answers with a call id, which is polled."""

import modal

app = modal.App("example-doc-ocr-jobs")

inference_image = modal.Image.debian_slim(python_version="3.12").uv_pip_install(
    "accelerate==0.28.0",
    "huggingface_hub==0.27.1",
    "numpy<2",
    "tiktoken==0.8.0",
    "torch==2.5.1",
    "torchvision==0.20.1",
    "transformers==4.48.0",
    "verovio==4.3.1",
)
MODEL_NAME = "ucaslcl/GOT-OCR2_0"
REVISION = "cf6b7386bc89a54f09785612ba74cb12de6fa17c"
cache = modal.Volume.from_name("hf-hub-cache", create_if_missing=True)


@app.cls(
    gpu="l40s",
    retries=3,
    volumes={"/root/.cache/huggingface": cache},
    image=inference_image,
    max_containers=10,
)
class Parser:
    @modal.enter()
    def load(self):
        from transformers import AutoModel, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(
            MODEL_NAME, revision=REVISION, trust_remote_code=True
        )
        self.model = AutoModel.from_pretrained(
            MODEL_NAME,
            revision=REVISION,
            trust_remote_code=True,
            device_map="cuda",
            use_safetensors=True,
        )

    @modal.method()
    def parse_receipt(self, image: bytes) -> str:
        from tempfile import NamedTemporaryFile

        with NamedTemporaryFile(delete=False, mode="wb+") as temp_img_file:
            temp_img_file.write(image)
            return self.model.chat(self.tokenizer, temp_img_file.name, ocr_type="format")


web_image = modal.Image.debian_slim(python_version="3.12").uv_pip_install(
    "fastapi[standard]==0.115.4", "python-multipart==0.0.20"
)


@app.function(image=web_image)
@modal.asgi_app(requires_proxy_auth=True)
def wrapper():
    import fastapi
    from fastapi import File, Form, UploadFile

    web_app = fastapi.FastAPI()

    @web_app.post("/parse")
    async def parse(receipt: UploadFile = File(...), note: str = Form("")):
        image = await receipt.read()
        call = await Parser().parse_receipt.spawn.aio(image)
        return {"call_id": call.object_id, "note": note}

    @web_app.get("/result/{call_id}")
    async def poll_results(call_id: str):
        function_call = modal.FunctionCall.from_id(call_id)
        try:
            return await function_call.get.aio(timeout=0)
        except TimeoutError:
            return fastapi.responses.JSONResponse(content="", status_code=202)

    return web_app
