"""Programs that run inside a sandbox, by path: nothing of modalkit is imported there.

attendant.py    the sandbox's program: starts commands that the plane asks for
terminal.py     gives a command a terminal of its own
file_tools.py   what `Sandbox.filesystem` runs in it
"""
