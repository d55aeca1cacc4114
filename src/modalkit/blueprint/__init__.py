"""Everything a file will create on Modal, as data: what ``modalkit plan`` shows.

    values      the blueprint itself: plain values, with a JSON Schema
    services    a service's plan and its model's facts, turned into values
    functions   the functions of an app that are not services, as far as the modal client tells
    reading     a file: its apps, services and functions, with their prices
    changes     what differs from another blueprint, or from a lock
    studies     memory, price and context worked out over ranges, for pictures
    drawings    those pictures, as SVG
    page        a report as one HTML file

Nothing here prints, and nothing asks the network.
"""
