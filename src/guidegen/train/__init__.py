"""The phase `train`."""
