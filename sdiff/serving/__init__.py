"""Recommendations from a trained model: lists, explanations, exports."""
