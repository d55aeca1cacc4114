"""A cron job that looks something up and posts it to Slack."""

import os
from datetime import datetime, timedelta

import modal

app = modal.App("example-hn-bot")

slack_sdk_image = modal.Image.debian_slim(python_version="3.12").uv_pip_install(
    "slack-sdk==3.33.4", "requests==2.32.3"
)

QUERY = "serverless"
WINDOW_SIZE_DAYS = 1


@app.function(image=slack_sdk_image)
def search_hackernews(query: str = QUERY, window_size_days: int = WINDOW_SIZE_DAYS):
    import requests

    last_run = int((datetime.utcnow() - timedelta(days=window_size_days)).timestamp())
    response = requests.get(
        "http://hn.algolia.com/api/v1/search",
        params={"query": query, "tags": "story", "numericFilters": f"created_at_i>{last_run}"},
        timeout=10,
    ).json()
    return [{"title": one["title"], "url": one.get("url")} for one in response["hits"]]


@app.function(
    image=slack_sdk_image,
    secrets=[modal.Secret.from_name("hn-bot-slack", required_keys=["SLACK_BOT_TOKEN"])],
)
def post_to_slack(channel: str, message: str):
    import slack_sdk

    client = slack_sdk.WebClient(token=os.environ["SLACK_BOT_TOKEN"])
    client.chat_postMessage(channel=channel, text=message)


@app.function(schedule=modal.Cron("0 9 * * *", timezone="America/New_York"), timeout=600)
def run_daily():
    lines = [f"<{one['url']}|{one['title']}>" for one in search_hackernews.remote()]
    post_to_slack.remote("modal-news", "\n".join(lines) or "Nothing today.")


@app.local_entrypoint()
def main():
    run_daily.remote()
