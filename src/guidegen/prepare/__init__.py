"""The phase `prepare`."""
