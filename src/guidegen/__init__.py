"""GuideGen: a text-to-CT dataset factory that a lab can clone, run, trust and audit."""

__version__ = "0.1.0"
