"""The phase `retrieve`."""
