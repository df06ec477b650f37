"""The phase `convert`."""
