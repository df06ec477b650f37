"""The phase `pair`."""
