"""What a model needs: parameters, bytes, KV cache, the GPUs it fits and how fast it could be.

    expressions, layer_rules, layer_types    reading a config the way its architecture writes it
    layouts     every parameter of an architecture, from ``data/architectures``
    composed    an architecture around another text model
    configs     a ``config.json`` with defaults filled in
    formats     bytes of a weight, by quantisation; module_names reads its patterns
    attention, recurrent    what a layer keeps, read off its parameters
    cache       what each layer keeps of the tokens it has seen
    tally       parameters and bytes added up; stored: what a folder's files hold
    model       the facts of one model; `ModelFacts` may also be stated by hand
    memory      what one GPU holds, line by line
    speed       a roofline estimate with its range
    fit         which GPUs, cheapest first
    report      all of it for one model

Pure: nothing here reads the network, and files only through `read_model`.
"""
