"""Config section of the phase `version`."""

from guidegen.section import Section


class VersionSettings(Section):
    """Settings of the phase `version`."""

    remote: str = ""
    """Where committed bulk data is copied to: a folder (absolute, or relative to the study), `s3://bucket/prefix` or
    `ssh://host/path`; empty keeps it in the study's own cache only."""
    endpoint_url: str = ""
    """Address of the S3 server where it is not Amazon's, e.g. `https://minio.example.org:9000`."""
