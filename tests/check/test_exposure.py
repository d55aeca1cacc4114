"""Secrets that leave a container, variables that no Secret promises, and runs that happen twice."""

from __future__ import annotations

import pytest

from .checking import codes, findings

HEAD = """import json, logging, os, pprint, sqlite3
import modal
from fastapi.responses import JSONResponse

app = modal.App("demo")
logger = logging.getLogger(__name__)
"""


def _body(*lines: str, options: str = "") -> str:
    return f"{HEAD}\n\n@app.function({options})\ndef work():\n" + "".join(
        f"    {line}\n" for line in lines
    )


@pytest.mark.parametrize(
    "lines",
    [
        ("print(os.environ)",),
        ("print(dict(os.environ))",),
        ("pprint.pprint(os.environ.copy())",),
        ("logger.info('env %s', os.environ)",),
        ("print(json.dumps(dict(os.environ)))",),
        ("print(f'token {os.environ[\"HF_TOKEN\"]}')",),
        ("return os.environ['API_KEY']",),
        ("key = os.environ['API_KEY']", "return {'key': key}"),
        ("return JSONResponse({'env': dict(os.environ)})",),
        ("return {**os.environ}",),
        ("yield os.getenv('API_TOKEN')",),
        ("print(sorted(os.environ.items()))",),
    ],
)
def test_a_secret_that_leaves_is_found(lines: tuple[str, ...]) -> None:
    """Printed, logged, returned or streamed, alone or with the whole environment."""
    assert "MK203" in codes(_body(*lines))


@pytest.mark.parametrize(
    "lines",
    [
        ("print('HF_TOKEN' in os.environ)",),
        ("print(sorted(os.environ))",),
        ("print(list(os.environ.keys()))",),
        ("print(len(os.environ['HF_TOKEN']), os.environ['HF_TOKEN'][:4])",),
        ("print(os.environ['MODAL_TASK_ID'])",),
        ("return client(os.environ['API_KEY']).ask()",),
        ("env = {**os.environ, 'A': '1'}", "run(env=env)"),
        ("return os.environ['REGION']",),
    ],
)
def test_what_shows_no_secret_is_left(lines: tuple[str, ...]) -> None:
    """Names, lengths, plain variables and an environment that is handed on stay inside."""
    assert "MK203" not in codes(_body(*lines))


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ("[modal.Secret.from_name('a')]", ["API_KEY", "DB_PASSWORD"]),
        ("[modal.Secret.from_name('a'), modal.Secret.from_name('b', required_keys=['DB_PASSWORD'])]", ["API_KEY"]),
        ("[modal.Secret.from_name('a', required_keys=['API_KEY', 'DB_PASSWORD'])]", None),
        ("[modal.Secret.from_name('a'), modal.Secret.from_name('b')]", None),
        ("[modal.Secret.from_name('a'), modal.Secret.from_dotenv()]", None),
        ("SECRETS", None),
    ],
)  # fmt: skip
def test_the_one_secret_that_must_hold_a_variable_is_named(secrets: str, said: list[str] | None) -> None:  # fmt: skip
    """Where only one Secret can hold what is read, it should promise it; what others promise is taken off."""
    lines = ("a = os.environ['API_KEY']", "b = os.environ['DB_PASSWORD']", "run(a, b)")
    text = _body(*lines, options=f"secrets={secrets}")
    cures = [one.instead for one in findings(text) if one.code == "MK204"]
    assert cures == ([f"modal.Secret.from_name(..., required_keys={said!r})."] if said else [])


def _nightly(*lines: str, retries: int = 0) -> bool:
    options = f"schedule=modal.Period(days=1), timeout=600, retries={retries}"
    return "MK704" in codes(_body(*lines, options=options))


@pytest.mark.parametrize(
    "line",
    [
        "sqlite3.connect('/data/a.db').execute('INSERT INTO t VALUES (1)')",
        "frame.to_sql('t', engine, if_exists='append')",
        "open('/data/log.csv', 'a').write('x')",
    ],
)
def test_a_row_that_comes_twice_is_noted(line: str) -> None:
    """Modal starts an interrupted run anew, with retries or without."""
    assert _nightly(line)


@pytest.mark.parametrize(
    "lines",
    [
        ("db.execute('INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING')",),
        ("db.execute('INSERT OR REPLACE INTO t VALUES (1)')",),
        ("db.execute('DELETE FROM t WHERE day = 1')", "db.execute('INSERT INTO t VALUES (1)')"),
        ("frame.to_sql('t', engine, if_exists='replace')",),
        ("open('/data/log.csv', 'w').write('x')",),
        ("open('log.csv', 'a').write('x')",),
        ("open('/tmp/log.csv', 'a').write('x')",),
        ("slack.chat_postMessage(channel='a', text='b')",),
    ],
)
def test_what_may_be_done_again_is_left(lines: tuple[str, ...]) -> None:
    """Keys, replaced tables, and a message that would come twice once in a while."""
    assert not _nightly(*lines)


def test_a_message_is_noted_where_it_is_sent_again_on_purpose() -> None:
    """Retries send it for every failure after it."""
    assert _nightly("slack.chat_postMessage(channel='a', text='b')", retries=3)


@pytest.mark.parametrize(
    ("schedule", "found"),
    [
        ("modal.Period()", True),
        ("modal.Period(days=0)", True),
        ("modal.Period(hours=4)", False),
        ("modal.Cron(cron_string='0 0 30 2 *')", True),
        ("modal.Cron(cron_string='0 6 * * *')", False),
    ],
)
def test_a_schedule_that_never_comes_is_found(schedule: str, found: bool) -> None:
    """A period of no length, and a date that does not exist, however the call is written."""
    assert ("MK701" in codes(_body("pass", options=f"schedule={schedule}, timeout=60"))) is found
