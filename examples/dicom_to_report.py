"""
From DICOM to a report
======================

DICOM files in class folders, through the lung window, to cross-validation and one HTML page. Needs
the extra ``dicom``. The files are written here from phantoms; yours come from a scanner.
"""

import tempfile
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

import covidct


def write_slice(path: Path, grey: np.ndarray, patient: str) -> None:
    """Store 8-bit grey in the lung window (level -600, width 1500) as Hounsfield units."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    file.PatientID, file.Modality = patient, "CT"
    file.Rows, file.Columns = grey.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
    file.RescaleSlope, file.RescaleIntercept = 1, -1350
    file.PixelData = (grey.astype(float) / 255 * 1500).astype(np.uint16).tobytes()
    file.save_as(path)


root = Path(tempfile.mkdtemp())
phantoms = covidct.load_dataset("phantom", n=32, seed=0)
for i, (image, target) in enumerate(phantoms):
    path = root / "slices" / phantoms.classes[target] / f"{i}.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_slice(path, np.asarray(image), patient=phantoms.groups[i])

# %%
# Patients are known by a hash of their PatientID; names and dates go nowhere.

slices = covidct.load_dataset("folder", root / "slices")
print(slices)

cv = covidct.CrossValidator(
    "shufflenet", covidct.Recipe.demo().scaled(3), cv=2, weights=None, run_dir=root / "run"
)
result = cv.run(slices)
