"""The tables and figures of the paper, ablations, and rival models."""
