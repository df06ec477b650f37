"""Organs that tumours lie in, as torso classes."""

SITE_CLASSES = (
    *("spleen", "kidney", "liver", "stomach", "pancreas", "lung", "small_bowel", "duodenum", "colon"),
    *("urinary_bladder", "adrenal_gland", "gallbladder", "oesophagus", "heart"),
)
"""Classes that a tumour can lie in; bones and large vessels only border on it."""
_OTHER_NAMES = {"rectum": "colon", "bladder": "urinary_bladder"}


def name_class(site: str) -> str:
    """Return the torso class that holds tumours of a site, "" where there is none (ovary, uterus, prostate)."""
    name = _OTHER_NAMES.get(site, site.replace(" ", "_"))
    return name if name in SITE_CLASSES else ""
