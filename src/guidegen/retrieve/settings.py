"""Config section of the phase `retrieve`."""

from pathlib import Path

from pydantic import Field

from guidegen.section import Section


class RetrieveSettings(Section):
    """How the files of the indexed series are brought in."""

    series_at_once: int = Field(4, ge=1)
    """Series that one job downloads at the same time; one after the other is then checked and stored."""
    endpoint_url: str = ""
    """S3 server of the source `idc`, empty: Amazon's; e.g. a mirror, or a proxy on the cluster."""
    nbia_url: str = "https://nbia.cancerimagingarchive.net/nbia-api/services/v4"
    """Service of the source `nbia`: TCIA's own, or one that answers like it."""
    connections: int = Field(16, ge=1)
    """Objects of one series that are downloaded at the same time (source `idc`)."""
    attempts: int = Field(4, ge=1)
    """How often a download is tried; the pause between attempts doubles from one second, with jitter."""
    timeout_minutes: float = Field(30.0, gt=0)
    """Longest time for one attempt to download one series."""
    min_free_gb: float = Field(5.0, ge=0)
    """A job does not start unless this much disk (10^9 bytes) would stay free after it."""
    max_disk_gb: float | None = None
    """Cap on the size of `data/raw` in 10^9 bytes, none: no cap; a job that would exceed it does not start."""
    gdc_url: str = "https://api.gdc.cancer.gov"
    """Service that the clinical tables of the public collections come from."""
    clinical: dict[str, Path] = {}
    """Clinical tables that lie here already, by collection, e.g. exports of the IDC; relative to the study."""
