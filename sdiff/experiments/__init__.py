"""Tables and figures of the paper, ablations, and baseline models."""
