"""The rules, by what they are about. `rule` lists the modules that hold them."""
