"""Plain Python around Modal: parameters, a Dict as a cache, typed options in one dict, a CPU class."""

import modal

OPTIONS = {"cpu": 2.0, "memory": 4096, "timeout": 300}

image = modal.Image.debian_slim(python_version="3.12").uv_pip_install(
    "scikit-learn==1.6.1", "joblib==1.4.2", "numpy==2.2.6"
)
app = modal.App("forecast", image=image)
volume = modal.Volume.from_name("forecast-models", create_if_missing=True)
seen = modal.Dict.from_name("forecast-seen", create_if_missing=True)


@app.function(volumes={"/models": volume}, **OPTIONS)
def train(region: str) -> str:
    import joblib
    import numpy as np
    from sklearn.linear_model import Ridge

    values = np.arange(100.0)
    model = Ridge().fit(values.reshape(-1, 1), values)
    path = f"/models/{region}.joblib"
    joblib.dump(model, path)
    volume.commit()
    return path


@app.cls(volumes={"/models": volume.read_only()}, scaledown_window=120, **OPTIONS)
class Forecast:
    region: str = modal.parameter()

    @modal.enter()
    def load(self):
        import joblib

        self.model = joblib.load(f"/models/{self.region}.joblib")

    @modal.method()
    def predict(self, hours: int) -> list[float]:
        if hours in seen:
            return seen[hours]
        answer = self.model.predict([[hour] for hour in range(hours)]).tolist()
        seen[hours] = answer
        return answer


@app.local_entrypoint()
def main():
    for path in train.map(["north", "south"]):
        print(path)
    print(Forecast(region="north").predict.remote(24))
