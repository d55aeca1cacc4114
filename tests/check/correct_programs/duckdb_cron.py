"""Data work on a schedule: objects from a bucket, a table that is built anew, written to a Volume."""

import modal

image = modal.Image.debian_slim(python_version="3.12").uv_pip_install(
    "duckdb==1.4.1", "pandas==2.2.3", "pyarrow==18.1.0"
)
app = modal.App("nightly-tables", image=image)
volume = modal.Volume.from_name("tables", create_if_missing=True)
bucket = modal.CloudBucketMount(
    bucket_name="trips",
    secret=modal.Secret.from_name("s3", required_keys=["AWS_ACCESS_KEY_ID"]),
    read_only=True,
)


@app.function(
    volumes={"/tables": volume, "/trips": bucket},
    schedule=modal.Cron("30 2 * * *"),
    timeout=2 * 60 * 60,
    cpu=4,
    memory=8192,
)
def rebuild():
    import duckdb

    con = duckdb.connect("/tmp/work.db")
    con.execute("CREATE OR REPLACE TABLE trips AS SELECT * FROM read_parquet('/trips/*.parquet')")
    con.execute("COPY (SELECT day, count(*) FROM trips GROUP BY day) TO '/tables/days.parquet'")
    volume.commit()


@app.function(volumes={"/tables": volume.read_only()})
def busiest(limit: int = 10) -> list[dict]:
    import pandas as pd

    volume.reload()
    df = pd.read_parquet("/tables/days.parquet")
    return df.head(limit).to_dict("records")


@app.function(timeout=3600)
def process(month: int) -> int:
    return sum(day for day in range(month))


@app.local_entrypoint()
def main():
    print(sum(process.map(range(1, 13))))
    print(busiest.remote())
