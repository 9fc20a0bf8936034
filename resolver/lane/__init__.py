"""The path that a UDP query takes: compiled, in batches, where the extension could be built; plain Python elsewhere."""
