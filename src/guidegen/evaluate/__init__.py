"""The phase `evaluate`."""
