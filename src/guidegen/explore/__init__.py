"""The explorer: a local page that draws what a prompt says."""
