"""The phase `version`: commits, verifies and restores what the other phases made."""
