"""The three networks, their mathematics, and the text encoder."""
