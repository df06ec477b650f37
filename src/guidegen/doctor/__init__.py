"""Checks that a machine, a study and a cluster are ready, each with what to do about what is not."""
