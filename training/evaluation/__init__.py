"""The pieces of the evaluation: sets of frames, what is measured on them, and the report."""
