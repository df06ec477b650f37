"""Tissues of the phantom and their HU in each contrast phase."""

from dataclasses import dataclass
from enum import IntEnum, auto

import numpy as np

from guidegen.statements import Phase

PHASES = (Phase.NON_CONTRAST, Phase.ARTERIAL, Phase.PORTAL_VENOUS, Phase.DELAYED)


class Tissue(IntEnum):
    """What fills a voxel; it decides the HU, while the label map says to which organ the voxel belongs."""

    AIR = 0
    TABLE = auto()
    SKIN = auto()
    FAT = auto()
    GLAND = auto()
    MUSCLE = auto()
    SOFT = auto()
    LUNG = auto()
    AIRWAY = auto()
    LUNG_VESSEL = auto()
    CORTICAL_BONE = auto()
    RIB_BONE = auto()
    MARROW = auto()
    DISC = auto()
    CARTILAGE = auto()
    CORD = auto()
    ARTERY = auto()
    VENA_CAVA = auto()
    UPPER_VEIN = auto()
    PORTAL_VEIN = auto()
    HEPATIC_VEIN = auto()
    MYOCARDIUM = auto()
    LEFT_HEART = auto()
    RIGHT_HEART = auto()
    LIVER = auto()
    SPLEEN = auto()
    PANCREAS = auto()
    ADRENAL = auto()
    RENAL_CORTEX = auto()
    RENAL_MEDULLA = auto()
    RENAL_PELVIS = auto()
    GUT_WALL = auto()
    GUT_CONTENT = auto()
    GUT_GAS = auto()
    FAECES = auto()
    BILE = auto()
    URINE = auto()
    OESOPHAGUS = auto()
    PROSTATE = auto()
    UTERUS = auto()
    TUMOUR = auto()
    NECROSIS = auto()


HU: dict[Tissue, tuple[float, float, float, float] | float] = {
    Tissue.AIR: -1000,
    Tissue.TABLE: -350,
    Tissue.SKIN: -20,
    Tissue.FAT: -103,
    Tissue.GLAND: 5,
    Tissue.MUSCLE: (52, 56, 62, 60),
    Tissue.SOFT: (38, 50, 55, 52),
    Tissue.LUNG: -850,
    Tissue.AIRWAY: -985,
    Tissue.LUNG_VESSEL: (30, 190, 120, 90),
    Tissue.CORTICAL_BONE: 420,
    Tissue.RIB_BONE: 430,
    Tissue.MARROW: (175, 180, 190, 185),
    Tissue.DISC: 85,
    Tissue.CARTILAGE: 125,
    Tissue.CORD: 25,
    Tissue.ARTERY: (42, 310, 158, 112),
    Tissue.VENA_CAVA: (40, 75, 132, 108),
    Tissue.UPPER_VEIN: (42, 260, 140, 108),
    Tissue.PORTAL_VEIN: (40, 95, 168, 115),
    Tissue.HEPATIC_VEIN: (40, 60, 160, 112),
    Tissue.MYOCARDIUM: (46, 105, 112, 95),
    Tissue.LEFT_HEART: (42, 285, 150, 110),
    Tissue.RIGHT_HEART: (42, 230, 145, 110),
    Tissue.LIVER: (56, 66, 111, 94),
    Tissue.SPLEEN: (48, 122, 119, 96),
    Tissue.PANCREAS: (40, 96, 92, 74),
    Tissue.ADRENAL: (24, 55, 66, 50),
    Tissue.RENAL_CORTEX: (35, 182, 192, 150),
    Tissue.RENAL_MEDULLA: (31, 68, 162, 158),
    Tissue.RENAL_PELVIS: (6, 8, 12, 260),
    Tissue.GUT_WALL: (42, 78, 84, 70),
    Tissue.GUT_CONTENT: 24,
    Tissue.GUT_GAS: -900,
    Tissue.FAECES: -10,
    Tissue.BILE: 9,
    Tissue.URINE: (7, 7, 9, 130),
    Tissue.OESOPHAGUS: (42, 58, 64, 56),
    Tissue.PROSTATE: (38, 55, 70, 65),
    Tissue.UTERUS: (48, 75, 100, 90),
    Tissue.TUMOUR: 0,
    Tissue.NECROSIS: (22, 26, 30, 30),
}

TUMOUR_HU: dict[str, tuple[float, float, float, float]] = {
    "lung": (38, 62, 72, 66),
    "colon": (42, 74, 86, 74),
    "rectum": (42, 74, 86, 74),
    "kidney": (34, 138, 112, 86),
    "liver": (44, 108, 86, 70),
    "pancreas": (36, 56, 68, 66),
}
"""HU of enhancing tumour by site; papillary and chromophobe kidney cancer enhance less (`TUMOUR_FACTOR`)."""

TUMOUR_FACTOR = {"tcga_kirp": 0.62, "tcga_kich": 0.8}
"""Share of the enhancement of `TUMOUR_HU` in collections with less vascular tumours."""

NOT_PERFUSED = frozenset(
    {Tissue.AIR, Tissue.LUNG, Tissue.AIRWAY, Tissue.GUT_GAS, Tissue.FAT, Tissue.TABLE, Tissue.URINE, Tissue.BILE}
)


@dataclass(frozen=True)
class Enhancement:
    """How one patient's tissues deviate from the average: a factor on enhancement and an offset in HU per tissue."""

    factor: float
    offsets: tuple[float, ...]
    tumour: tuple[float, float, float, float]

    def table(self, phase: Phase) -> np.ndarray:
        """Return HU by tissue in a phase, shape (256,), float32."""
        column = PHASES.index(phase)
        table = np.zeros(256, np.float32)
        for tissue, value in HU.items():
            values = self.tumour if tissue is Tissue.TUMOUR else value
            native, now = (values[0], values[column]) if isinstance(values, tuple) else (values, values)
            table[tissue] = native + (now - native) * self.factor + self.offsets[tissue]
        return table


def draw_enhancement(rng: np.random.Generator, collection: str, site: str) -> Enhancement:
    """Draw a patient's deviations; tissues such as air and fat do not deviate."""
    offsets = tuple(0.0 if t in NOT_PERFUSED else float(rng.normal(0, 3.0)) for t in Tissue)
    native, *rest = TUMOUR_HU.get(site, TUMOUR_HU["colon"])
    share = TUMOUR_FACTOR.get(collection, 1.0) * float(rng.uniform(0.85, 1.15))
    arterial, portal, delayed = (native + (value - native) * share for value in rest)
    return Enhancement(float(rng.uniform(0.85, 1.15)), offsets, (native, arterial, portal, delayed))
