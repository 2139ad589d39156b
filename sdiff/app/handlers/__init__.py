"""What the page, the API and the exports show, computed from a `Query`. Draws nothing."""
