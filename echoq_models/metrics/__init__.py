"""Picture quality figures, numpy and OpenCV only: `gcnr`, `contrast`, `fidelity`, `flicker`.

Import from the modules: some carry the name of their main function.
"""
