"""Coverage-guided fuzzing of everything that reads bytes of others.

    python -m tests.fuzz TARGET --seconds 60     mutates the corpus and looks for what breaks a law
    python -m tests.fuzz TARGET --again FILE     runs one input, such as a finding

A target is a function of bytes in `targets`, which raises when a law is broken. `corpus/TARGET` holds what it begins
with: real messages from `seeds`, and inputs that once broke something. `tests/faults/test_fuzz.py` runs the corpus
with every change, and each target for some seconds on CI.
"""
