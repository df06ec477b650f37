"""Exports of a committed run: RO-Crate, Croissant, benchmark, cards (`guidegen version export`)."""
