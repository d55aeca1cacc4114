"""Load an endpoint and say what it can do: ``modalkit bench``.

    loads        how it is loaded: so many requests at once, or so many a second
    pacing       when each request of a rate is due, to a tenth of a millisecond
    target       where it is, and what every request has in its head
    wire         HTTP/1.1 on asyncio's protocols: bytes out, bytes in, each with its moment
    answers      what comes back, as it comes: events, tokens, usage, failures
    lengths      how long prompts and answers are
    prompts      texts of so many tokens, without a tokenizer
    inputs       bodies for a typed route: samples, or made from its JSON schema
    workload     the next request, as bytes
    finding      what the endpoint speaks: OpenAI routes, or typed ones with an OpenAPI document
    probing      the first answers: the cold start, what the server accepts, tokens of a word
    measuring    one load, kept up and watched
    headroom     whether this generator was fast enough for what it measured
    percentiles  percentiles and how sure they are
    summaries    what was measured of one load, as figures
    report       all of it as data: what ``--json`` writes and ``modalkit plan --bench`` reads
    cost         dollars for a million tokens
    limits       ``--fail-if``
    comparing    ``--compare``
    session      all of it in order
    serving      a file's service on the local Modal, for as long as it is loaded
    page         the report as one HTML file

It talks HTTP only and imports no engine; nothing here prints.
"""
