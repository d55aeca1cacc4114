"""2024-11: functions and classes of an app that is deployed, called from a script."""
# modalkit-test: deploy
import modal

app = modal.App("lookup-of-functions")


@app.function()
def f(x):
    return x + 1


@app.cls()
class Model:
    @modal.method()
    def predict(self, x):
        return 2 * x


@app.function()
def client():
    g = modal.Function.lookup("lookup-of-functions", "f")
    h = modal.Function.from_name("lookup-of-functions", "Model.predict")
    Looked = modal.Cls.lookup("lookup-of-functions", "Model")
    return g.remote(1), h.remote(2), Looked().predict.remote(3)
