"""The phase `segment`."""
