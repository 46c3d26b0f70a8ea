"""
From DICOM to a report
======================

Cross-validate a network on DICOM files and write one HTML page. This example needs the extra
``dicom``. It first writes phantoms as DICOM files; replace them by your own.
"""

import tempfile
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

import covidct
from covidct.datasets.dicom import patient_group
from covidct.report import write_report


def write_slice(path: Path, gray: np.ndarray, patient: str) -> None:
    """Store 8-bit gray in the lung window (level -600, width 1500) as Hounsfield units."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    file.PatientID, file.Modality = patient, "CT"
    file.Rows, file.Columns = gray.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
    file.RescaleSlope, file.RescaleIntercept = 1, -1350
    file.PixelData = (gray.astype(float) / 255 * 1500).astype(np.uint16).tobytes()
    file.save_as(path)


root = Path(tempfile.mkdtemp())
phantoms = covidct.load_dataset("phantom", n=32, seed=0)
paths = [root / f"{i}.dcm" for i in range(len(phantoms))]
for i, path in enumerate(paths):
    write_slice(path, np.asarray(phantoms[i][0]), patient=phantoms.groups[i])

# %%
# Patients are identified by a hash of their PatientID. Names and dates are not used.

patients = [patient_group(path) for path in paths]
slices = covidct.CTDataset(paths, phantoms.targets, patients, name="clinic", root=root)
print(slices)

recipe = covidct.Recipe.demo().replace(canvas=(64, 84), batch_size=4)
result = covidct.CrossValidator("shufflenet", recipe, cv=2, groups="patient", weights=None).run(
    slices
)
page = write_report(result, root / "report.html", dataset=slices)
print(result, page, sep="\n")
