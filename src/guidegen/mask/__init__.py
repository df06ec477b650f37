"""The phase `mask`."""
