"""What a model needs: parameters, bytes, KV cache, the GPUs it fits and how fast it could be.

    expressions, layer_rules, layer_types    reading a config the way its architecture writes it
    layouts     every parameter of an architecture, from ``data/architectures``
    composed    an architecture around another text model or tower
    remote_code, mistral_format    configs of other classes in the words of a known one
    configs     a ``config.json`` with defaults filled in
    dtypes, formats    bytes of a weight, by its type and quantisation; module_names reads its patterns
    attention, recurrent    what a layer keeps, read off its parameters
    kept        what one layer keeps of the tokens it has seen; cache: that of every layer of a model
    parts       weights by kind; kinds: by a parameter's name; tally adds them up; stored: what weight
                files hold by their headers
    facts       `ModelFacts`, which may also be stated by hand; model: from a config to them
    load, serving    what must be borne, and over which GPUs; how an engine was told to use one
    holdings, reserves    weights, cache and states of one GPU; what the engine keeps for itself
    memory      all of it, line by line (lines)
    speed       a roofline estimate with its range
    fit         which GPUs, cheapest first
    report      all of it for one model

Pure: nothing here reads the network, and files only through `read_model`.
"""
