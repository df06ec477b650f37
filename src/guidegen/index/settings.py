"""Config section of the phase `index`."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from guidegen.section import Section

DESCRIPTIONS_TO_EXCLUDE = r"""
 scout|topogram|localiz|locator|survi?ew|scano|pilot|ap/lat|lateral
|monitor|premon|smart\s*prep|bolus(?!\s*agent)|tracker|tracking|timing|test\b|\bprep\b
|dose|report|summary|screen|results|detect\s*index|vessel\s*suppress|protocol|patient\s*info
|\bcor\b|coron|\bsag\b|sagit|saggit|\bcor[_\-\s\d]|_cor|_sag|\bsag[_\-\d]|\bcr\b|\bsg\b|mpr|reform|oblique|\bobl\b|curved|\bcpr\b
|\bmip\b|mips\b|minip|(?<!for\s)(?<!\d\s)(?<!\d\s\s)\b3d\b(?!\s*recon)|vrt|volume\s*render|\bvr\b|rendering|ave?r?age\s*ip|processed\s*images|subtract|\bcolor
|fus|\bpet\b|ctac|\bac\s*ct|ct\s*ac\b|atten|alpha\s*range
|biops|ablat|guid|needle|drain|interven|\bbx\b|post\s*proc|fluoro
|perfus|dynamic|\b4d\b|gated|gating|cardiac|coronar|calcium|angio\s*head|circle\s*of\s*willis
|\bhead\b(?!\s*(in|first))|brain|\bneck\b|sinus|orbit|\bspine\b|lumbar|cervical|extrem|femur|\bleg\b|runoff|run-off|knee|sella|temporal
|phantom|\bqa\b|air\s*cal|\bmono\b.*kev|iodine\s*map|virtual\s*non|\bvnc\b
"""
BODY_PARTS_TO_EXCLUDE = (
    r"^(head|brain|skull|neck|headneck|[ctl]*spine|extremity|arm|leg|knee|ankle|foot|hand|wrist|elbow|shoulder)$"
)
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"


class PhantomArchive(Section):
    """The embedded archive, made where `index.archive` points if nothing is there yet."""

    patients: int = Field(8, ge=1)
    """Patients per collection."""
    seed: int = 1
    """Seed of the phantoms' anatomy; independent of `study.seed`."""


class LocalCollection(Section):
    """A lab's own data: a folder of DICOM or NIfTI, which is how a hospital's private data enters."""

    folder: Path
    """Folder that is searched for DICOM series or `*.nii.gz`; relative paths are relative to the study."""
    labels: Path | None = None
    """Folder of label maps named as the CT (`<name>.nii.gz`), in TotalSegmentator's `total` labels."""
    clinical: Path | None = None
    """Clinical table (TSV or CSV) with one or more rows per patient."""
    site: str = "unknown"
    """Organ of the cancer, as in `collections.tsv`."""
    licence: str = "private"
    """Licence that is carried along to everything made from the data."""
    private: bool = True
    """Replace patient ids by keyed pseudonyms; the key stays outside git and DVC."""


class SelectionRule(Section):
    """Which CT series of a source are used; each criterion is named as its key, in this order."""

    sop_class: list[str] = [CT_IMAGE_STORAGE]
    """SOP Class UIDs that are accepted; an empty UID in de-identified local data counts as CT Image Storage."""
    min_instances: int = Field(40, ge=1)
    """Fewest images (criterion `instances`)."""
    max_instances: int = Field(1200, ge=1)
    """Most images (criterion `instances`)."""
    exclude_description: str = DESCRIPTIONS_TO_EXCLUDE
    """Series whose description matches this regular expression anywhere are left out (criterion `description`);
    case and white space in the pattern are ignored."""
    min_slice_mb: float | None = 0.50
    """Fewest megabytes (10^6 bytes) per image of an uncompressed series, none: any (criterion `slice_size`);
    0.50 to 0.60 is what 512 x 512 x 16 bit and a header take. Series in a JPEG transfer syntax pass."""
    max_slice_mb: float | None = 0.60
    """Most megabytes per image of an uncompressed series, none: any (criterion `slice_size`)."""
    exclude_body_part: str = BODY_PARTS_TO_EXCLUDE
    """Series whose body part matches this regular expression are left out (criterion `body_part`)."""

    @field_validator("exclude_description", "exclude_body_part")
    @classmethod
    def _check_pattern(cls, value: str) -> str:
        try:
            re.compile(value, re.IGNORECASE | re.VERBOSE)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value


class SmallSelectionRule(SelectionRule):
    """The selection rule of a source whose series may be short and of any matrix size."""

    min_instances: int = Field(20, ge=1)
    """Fewest images (criterion `instances`)."""
    min_slice_mb: float | None = None
    """Fewest megabytes per image of an uncompressed series, none: any (criterion `slice_size`)."""
    max_slice_mb: float | None = None
    """Most megabytes per image of an uncompressed series, none: any (criterion `slice_size`)."""


class SelectionSettings(Section):
    """The selection rule of each source: private data and the embedded archive are not a public archive."""

    idc: SelectionRule = SelectionRule()  # type: ignore[call-arg]
    """Rule of the source `idc`; it turns the twelve collections' 5,565 CT series into 2,755."""
    nbia: SelectionRule = SelectionRule()  # type: ignore[call-arg]
    """Rule of the source `nbia`; it states no transfer syntax, so series in a JPEG syntax fall to `slice_size`."""
    archive: SmallSelectionRule = SmallSelectionRule()  # type: ignore[call-arg]
    """Rule of the source `archive`."""
    local: SmallSelectionRule = SmallSelectionRule()  # type: ignore[call-arg]
    """Rule of the collections of `index.local`; NIfTI files have no description and no instances to count."""


class AnnotationRule(Section):
    """One entry of the allow-list of annotation series; the first entry that fits decides."""

    analysis_result: str = ".*"
    """Regular expression for the whole analysis result id ("" is the collection's own submission)."""
    algorithm_type: str = ".*"
    """Regular expression for the whole algorithm type: MANUAL, SEMIAUTOMATIC, AUTOMATIC, "" where unknown."""
    description: str = ".*"
    """Regular expression that is searched in the series description."""
    modality: Literal["SEG", "RTSTRUCT", "any"] = "any"
    """Kind of object."""
    kind: Literal["expert", "ai", "seed"]
    """What the annotation is: drawn or corrected by an expert, made by a model, or only a seed point."""
    tumour: bool
    """True where it marks the tumour: such a CT ranks first among those of its patient."""

    @field_validator("analysis_result", "algorithm_type", "description")
    @classmethod
    def _check_pattern(cls, value: str) -> str:
        try:
            re.compile(value, re.IGNORECASE)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value


ACCEPTED_ANNOTATIONS = [
    AnnotationRule(description=r"seed\s*point", kind="seed", tumour=False),
    AnnotationRule(analysis_result="rcc_aid", modality="SEG", kind="expert", tumour=True),
    AnnotationRule(analysis_result="cptac_.*_tumor_annotations", description=r" - \d+$", kind="expert", tumour=True),
    AnnotationRule(analysis_result="bamf_aimi_annotations", description=r"radiologist", kind="expert", tumour=True),
    AnnotationRule(analysis_result="bamf_aimi_annotations", description=r"tumor|nodule", kind="ai", tumour=True),
    AnnotationRule(analysis_result="bamf_aimi_annotations", kind="ai", tumour=False),
    AnnotationRule(
        analysis_result="", algorithm_type="AUTOMATIC", description=r"tumou?r|lesion", kind="ai", tumour=True
    ),
    AnnotationRule(analysis_result="", algorithm_type="AUTOMATIC", kind="ai", tumour=False),
    AnnotationRule(analysis_result="", kind="expert", tumour=True),
]


class IndexSettings(Section):
    """Which series exist, and which of them the study uses."""

    source: Literal["idc", "nbia", "archive"] = "idc"
    """Where the collections of `study.collections` come from."""
    archive: Path = Path("archive")
    """Folder of the local archive (source `archive`), in the layout that `guidegen phantom` writes."""
    phantom: PhantomArchive | None = None
    """Make the embedded archive first; only with source `archive`."""
    local: dict[str, LocalCollection] = {}
    """Further collections from local folders, by name (`[a-z0-9_]+`)."""
    patients_per_shard: int = Field(20, ge=1)
    """Size of a shard; the shard count of a collection is stored when it is first indexed and never changes."""
    series_per_patient: int = Field(1, ge=1)
    """How many of a patient's CT series are used, best first."""
    selection: SelectionSettings = SelectionSettings()
    """Which CT series are used, by source."""
    annotations: list[AnnotationRule] = ACCEPTED_ANNOTATIONS
    """Allow-list of annotation series (SEG, RTSTRUCT); what no entry fits is left out."""
    licences: list[str] = ["CC BY 3.0", "CC BY 4.0", "CC0 1.0"]
    """Licences that are used; a collection under another one is refused. Collections of `index.local` are yours."""
    pseudonym_key: Path = Path("~/.config/guidegen/pseudonym.key")
    """Key file of the pseudonyms of private patients, made on first use; it must lie outside the study folder."""
    idc_tables: Path | None = None
    """Folder with `seg_index.parquet` and `rtstruct_index.parquet` of the IDC, which say what CT an annotation belongs
    to; none: they are downloaded."""
    idc_tables_url: str = "https://storage.googleapis.com/idc-index-data-artifacts"
    """Where these tables are downloaded from (releases of idc-index-data); "": nowhere, annotations are then linked
    only where their description names the CT."""

    @field_validator("local")
    @classmethod
    def _check_names(cls, value: dict[str, LocalCollection]) -> dict[str, LocalCollection]:
        for name in value:
            if not re.fullmatch(r"[a-z0-9_]+", name) or "__" in name:
                raise ValueError(f"collection name '{name}': use only a-z, 0-9 and single underscores")
        return value
