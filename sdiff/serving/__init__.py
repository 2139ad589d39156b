"""Recommendations, explanations and exports from a trained model."""
