"""What the `site` process knows that becomes evidence: meters, sources, grid, commands, machines, certificates, facts.

Each module composes one kind of record from what is known, as pure functions; `writer` logs them at the end of each epoch.
"""
