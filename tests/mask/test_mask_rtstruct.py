"""RTSTRUCT contours fill the right voxels; holes, gaps and open contours are handled and said."""

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from guidegen.mask.backends import AnnotationError
from guidegen.mask.resample import Grid
from guidegen.mask.rtstruct import label_case
from guidegen.mask.settings import MaskSettings

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])
AFFINE[:3, 3] = -20, -30, 100
GRID = Grid((24, 20, 12), AFFINE)


def make_item(**values: object) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def make_square(x0: float, x1: float, y0: float, y1: float, k: float, kind: str = "CLOSED_PLANAR") -> Dataset:
    """A rectangle given in voxels of the grid."""
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    world = [(AFFINE @ [x, y, k, 1])[:3] * [-1, -1, 1] for x, y in corners]
    return make_item(
        ContourGeometricType=kind, NumberOfContourPoints=4, ContourData=[f"{v:.4f}" for p in world for v in p]
    )


def make_structures(contours: dict[str, list[Dataset]], ct_uid: str = "1.2.3.4") -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.9.5"
    ds.Modality = "RTSTRUCT"
    study = make_item(RTReferencedSeriesSequence=[make_item(SeriesInstanceUID=ct_uid)])
    ds.ReferencedFrameOfReferenceSequence = [make_item(RTReferencedStudySequence=[study])]
    ds.StructureSetROISequence = [make_item(ROINumber=n, ROIName=name) for n, name in enumerate(contours, 1)]
    ds.ROIContourSequence = [
        make_item(ReferencedROINumber=n, ContourSequence=items) for n, items in enumerate(contours.values(), 1)
    ]
    return ds


def label(make_case, labels, contours, **options):
    layer = label_case(make_case(make_structures(contours, **options)), GRID, MaskSettings(), labels.source_ids)
    assert layer is not None
    return layer


def test_contours_on_every_slice_fill_their_voxels(make_case, labels):
    layer = label(make_case, labels, {"GTV": [make_square(4.5, 9.5, 6.5, 12.5, k) for k in range(3, 7)]})
    expected = np.zeros(GRID.shape, bool)
    expected[5:10, 7:13, 3:7] = True
    np.testing.assert_array_equal(layer.tumour, expected)
    assert layer.organs is None
    assert layer.flags == ()


def test_a_nested_contour_is_a_hole(make_case, labels):
    squares = [make_square(2.5, 15.5, 2.5, 15.5, 4), make_square(5.5, 8.5, 5.5, 8.5, 4)]
    layer = label(make_case, labels, {"liver": squares})
    filled = np.argwhere(layer.organs > 0)
    assert len(filled) == 13 * 13 - 3 * 3
    assert layer.organs[7, 7, 4] == 0


def test_contours_on_every_second_slice_leave_no_gap(make_case, labels):
    layer = label(make_case, labels, {"spleen": [make_square(4.5, 9.5, 6.5, 12.5, k) for k in (2, 4, 6, 8)]})
    assert np.flatnonzero((layer.organs > 0).any(axis=(0, 1))).tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_open_contours_and_unknown_names_are_flags(make_case, labels):
    contours = {
        "liver": [make_square(4.5, 9.5, 6.5, 12.5, 3), make_square(4.5, 9.5, 6.5, 12.5, 5, "OPEN_PLANAR")],
        "couch": [make_square(0, 20, 0, 1, 3)],
        "spleen": [],
    }
    layer = label(make_case, labels, contours)
    assert sorted(layer.flags) == ["empty_segment:spleen", "open_contour:liver", "unknown_segment:couch"]


def test_contours_of_another_series_and_damaged_ones_are_refused(make_case, labels):
    with pytest.raises(AnnotationError, match=r"drawn on series 8\.8"):
        label(make_case, labels, {"GTV": [make_square(4.5, 9.5, 6.5, 12.5, 3)]}, ct_uid="8.8")
    broken = make_square(4.5, 9.5, 6.5, 12.5, 3)
    broken.ContourData = broken.ContourData[:-1]
    with pytest.raises(AnnotationError, match="contours of 'GTV' cannot be read"):
        label(make_case, labels, {"GTV": [broken]})
