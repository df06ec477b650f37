"""Config section of the phase `report`."""

from pydantic import Field

from guidegen.section import Section


class ReportSettings(Section):
    """What the page shows."""

    overlay_cases: int = Field(6, ge=0, le=60)
    """Real cases shown with their label maps: in turn from each collection."""
    gallery_cases: int = Field(6, ge=0, le=60)
    """Generated cases shown of each synthetic set."""
    picture_height: int = Field(240, ge=64, le=512)
    """Height of the pictures of a case, pixels."""
    table_rows: int = Field(40, ge=5)
    """Longest table of single cases; the file it names holds all of them."""
    viewer_cases: int = Field(4, ge=0, le=60)
    """Of these, cases that the page's viewer can open: so many real ones, and so many of each synthetic set."""
    viewer_edge: int = Field(160, ge=16, le=512)
    """Longest edge of a volume in the viewer, voxels; larger ones are reduced by whole factors."""
