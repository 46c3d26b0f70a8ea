"""Registry entries of the two datasets of the paper, and of the loaders of your own files."""

from __future__ import annotations

from ..info import DatasetInfo

__all__ = ["COVID19_CT", "FOLDER", "PHANTOM", "SARS_COV_2_CT", "TABLE"]

COVID19_CT = DatasetInfo(
    name="covid19-ct",
    title="COVID19-CT (COVID-CT-Dataset), slices cut out of preprints and case reports",
    classes=("non-COVID", "COVID"),
    counts=(397, 349),
    patients=384,
    values="PNG and JPEG, windowed",
    split="train, val, test; by patient (425, 118 and 203 slices)",
    tested_on="real files",
    license="none stated; the copyright of the images stays with the authors and publishers of "
    "the source papers; research use only",
    home="https://github.com/UCSD-AI4H/COVID-CT",
    citation="Zhao, Zhang, He, Xie: COVID-CT-Dataset: a CT scan dataset about COVID-19, "
    "arXiv:2003.13865 (2020); He et al.: Sample-efficient deep learning for COVID-19 diagnosis "
    "based on CT scans, medRxiv 2020.04.13.20063941 (2020)",
    known_faults=(
        (
            "CT_COVID/kjr-21-e24-p5-29.png and -31.png (test) are the same slices as "
            "CT_NonCOVID/71%0.jpg and 71%1.jpg (train), under opposite labels."
        ),
        (
            "The file format predicts the class: every RGBA image (174) is COVID and 179 of "
            "213 RGB JPEGs are non-COVID, so that mode and format alone classify 79 %."
        ),
        "Many images carry burned-in arrows and letters.",
        (
            "Slices of one patient recur: a 1-nearest-neighbor on raw 64 x 64 pixels scores "
            "75.6 % in random 5-fold and 63.0 % grouped by patient."
        ),
    ),
    loader="covidct.datasets.manifest:load",
    layout="CT_COVID/ (349 files) and CT_NonCOVID/ (397 files), side by side or in a folder "
    "Images-processed",
    how_to_get="download=True, or unpack CT_COVID.zip and CT_NonCOVID.zip of the folder "
    "Images-processed of https://github.com/UCSD-AI4H/COVID-CT into one folder",
    source="https://raw.githubusercontent.com/UCSD-AI4H/COVID-CT/master/Images-processed/",
    archives=("CT_COVID.zip", "CT_NonCOVID.zip"),
    manifest="covid19_ct.csv",
    group_kind="patient",
)

SARS_COV_2_CT = DatasetInfo(
    name="sars-cov-2-ct",
    title="SARS-CoV-2 CT-scan dataset, from hospitals in Sao Paulo, Brazil",
    classes=("non-COVID", "COVID"),
    counts=(1229, 1252),
    values="PNG, windowed",
    tested_on="real files",
    license="see its home; each user fetches it from there",
    home="https://www.kaggle.com/datasets/plameneduardo/sarscov2-ctscan-dataset",
    citation="Soares, Angelov, Biaso, Froes, Abe: SARS-CoV-2 CT-scan dataset: a large dataset "
    "of real patients CT scans for SARS-CoV-2 identification, medRxiv 2020.04.24.20078584 "
    "(2020)",
    known_faults=(
        (
            "No patient ids are shipped, and neighboring file numbers are often neighboring "
            "slices of one patient: a 1-nearest-neighbor on raw 64 x 64 pixels scores "
            "92.9 % in random 5-fold, 78 % when blocks of 10 consecutive numbers stay "
            "together, 67 % with blocks of 40."
        ),
        "Covid (128) equals Covid (129), and Covid (134) equals Covid (135).",
        (
            "The color mode partly predicts the class: every non-COVID file is RGBA, while 413 "
            "COVID files are RGB."
        ),
        (
            "Non-Covid (151) does not exist: 2,481 slices, one fewer than the 2,482 that "
            "papers count."
        ),
    ),
    loader="covidct.datasets.manifest:load",
    layout="COVID/Covid (n).png (1,252 files) and non-COVID/Non-Covid (n).png (1,229 files)",
    how_to_get="download=True (needs pip install 'covidct[kaggle]'), or download and unpack it "
    "from its home",
    source="kaggle:plameneduardo/sarscov2-ctscan-dataset",
    manifest="sars_cov_2_ct.csv",
)

FOLDER = DatasetInfo(
    name="folder",
    title="Class folders of your own",
    license="yours",
    values="images, DICOM, NIfTI, MHA, MHD or NRRD",
    layout="a folder for each class, such as COVID/ and non-COVID/, with images, DICOM files "
    "or volumes at any depth; optionally groups.csv with the columns path,group",
    how_to_get="sort your slices into a folder per class",
    group_kind="patient",
)

TABLE = DatasetInfo(
    name="table",
    title="A CSV or Excel table of your own, or a DataFrame",
    license="yours",
    values="images, DICOM, NIfTI, MHA, MHD or NRRD",
    loader="covidct.datasets.table:load",
    layout="a table with a row per slice or volume, and the files that it lists",
    how_to_get="list the path and label of each slice, with patient, split and source if known",
    group_kind="patient",
)

PHANTOM = DatasetInfo(
    name="phantom",
    title="Procedural chest-CT phantoms with lesion and lung masks and patients",
    license="Apache-2.0, as covidct",
    loader="covidct.datasets.phantom:load",
    layout="nothing: the slices are computed",
    how_to_get='covidct.load_dataset("phantom", n=100, seed=0)',
    known_faults=("Not real anatomy: for tests and demonstrations, never for a claim.",),
    group_kind="patient",
)
