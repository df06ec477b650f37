"""The phase `synthesize`."""
