"""The phase `index`."""
