"""Registry entries of further public datasets, each read from the user's copy.

Counts of class 0 and class 1 follow the labels that `positive` and `negative` name. Facts that
could not be confirmed are left out or marked as uncertain.
"""

from __future__ import annotations

from ..info import DatasetInfo

__all__ = ["PUBLIC_SETS"]

_READERS = "covidct.datasets.public."
_GENERATED = "generated files"

COVIDX_CT = DatasetInfo(
    name="covidx-ct",
    title="COVIDx CT, slices of up to eleven sources with an official split (version 3A)",
    positive=("COVID-19",),
    negative=("Normal", "Pneumonia"),
    counts=(114_431, 310_593),
    patients=5312,
    values="PNG, windowed",
    split="train, val, test; by patient. Versions 2B and 3B add training slices and share val and "
    "test with 2A and 3A",
    license="per source, partly CC BY-NC-ND; together for non-commercial use",
    home="https://github.com/haydengunraj/COVIDNet-CT",
    citation="version 1: Gunraj, Wang, Wong, Front. Med. 7:608525 (2020); version 2: Front. Med. "
    "8:729287 (2022); version 3: arXiv:2206.03043 (2022)",
    known_faults=(
        (
            "COVID-19 and pneumonia patients are represented by lesion slices only, normal ones by "
            "all slices, so that the position in the body partly predicts the class."
        ),
        (
            "Sources contribute to different classes: a network may learn the scanner instead of "
            "the disease."
        ),
        "In version 3, a network chose most of the COVID-19 slices for training.",
        (
            "Version 1 contains eight scans that version 2 withdrew: NCP_328_1805, CP_1781_3567, "
            "CP_1769_3516, NCP_1058_2635, NCP_868_2395, NCP_868_2396, NCP_869_2397 and "
            "NCP_911_2453."
        ),
        "The MosMed patients that 2B and 3B add as COVID-19 were not confirmed by PCR.",
    ),
    contains=(
        "cc-ccii",
        "covid-19-ct-seg",
        "covid-chestxray",
        "covid-ct-md",
        "covid-ctset",
        "ictcf",
        "medseg-covid-19",
        "mosmed-1110",
        "stoic2021",
    ),
    tested_on=_GENERATED,
    loader=_READERS + "covidx_ct:load",
    layout="train_, val_ and test_COVIDx_CT-3A.txt (or another version), metadata.csv and the "
    "images, in one folder such as 3A_images/",
    how_to_get="get the Kaggle dataset hgunraj/covidxct (its version 1 is CT-1, 4 is CT-2A, later "
    "ones are CT-3A) and, if lists are missing, those in the folder splits of its home; 2B and 3B "
    "are built with the notebook there",
    group_kind="patient",
)

COVID_CTSET = DatasetInfo(
    name="covid-ctset",
    title="COVID-CTset, slices of one hospital in Sari, Iran",
    positive=("COVID-19",),
    negative=("Normal",),
    counts=(9776, 2282),
    patients=377,
    values="16-bit TIFF, Hounsfield units + 1024",
    split="5 folds; option fold=1 to 5",
    license="CC BY-NC 4.0; as quoted by others, to be checked at its home",
    home="https://github.com/mr7495/COVID-CTset",
    citation="Rahimzadeh, Attar, Sakhaei: Biomed. Signal Process. Control 68:102588 (2021)",
    known_faults=(
        "COVID-19 patients are represented by slices with visible lesions only.",
        (
            "Many patients have several reconstructions of one scan (SR_2, SR_3, SR_4), which are "
            "near duplicates of each other."
        ),
        "The first part of a file name is the class.",
        (
            "The images look black in a viewer; scaling each by its own maximum, as published code "
            "does, loses the Hounsfield units."
        ),
    ),
    contains=("covidx-ct", "large-covid-19-ct-slices"),
    tested_on=_GENERATED,
    loader=_READERS + "covid_ctset:load",
    layout="TIFF files named as 137covid_patient1_SR_2_IM00010.tif, at any depth; or the raw "
    "series patientN/SR_2/IM00001.tif with Patient_details.csv; for fold=, train1.csv, "
    "validation1.csv and test1.csv of each fold",
    how_to_get="download 'Training&Validation.zip' (or the raw series) from the links at its home "
    "and unpack it; the CSV files are in its repository",
    group_kind="patient",
)

COVID_CT_MD = DatasetInfo(
    name="covid-ct-md",
    title="COVID-CT-MD, DICOM series of one hospital in Tehran, Iran, with slice labels",
    positive=("COVID-19",),
    negative=("CAP", "Normal"),
    counts=(136, 169),
    unit="volumes",
    patients=305,
    values="DICOM (JPEG Lossless), Hounsfield units",
    license="not stated with the files; see its home",
    home="https://github.com/ShahinSHH/COVID-CT-MD",
    citation="Afshar et al.: Sci. Data 8:121 (2021)",
    known_faults=(
        (
            "The columns of the slice labels count from the head, by decreasing SliceLocation; "
            "file names are in another order in part of the series."
        ),
        "Label Index skips 43, so that it is not the row of the arrays from there on.",
        "Slice labels exist for 54 of 169 COVID-19 and 25 of 60 CAP patients.",
        (
            "The first release of the labels is wrong for P001 and P006; files with -updated-1 in "
            "their name correct them."
        ),
    ),
    contains=("covidx-ct", "large-covid-19-ct-slices"),
    tested_on="a sample of the real files",
    loader=_READERS + "covid_ct_md:load",
    layout="'COVID-19 Cases', 'Cap Cases' and 'Normal Cases' (or '... subjects'), each with a "
    "folder of DICOM files per patient; for slice labels Index.csv with Slice-level-labels.npy (or "
    "-updated-1), or a labels.csv with the columns patient, file and lesion",
    how_to_get="download the Figshare collection 5129081 and unpack it; the label files are in the "
    "repository too",
    group_kind="patient",
)

SARS_COV_2_CT_MULTICLASS = DatasetInfo(
    name="sars-cov-2-ct-multiclass",
    title="COVID multiclass dataset of CT scans, patients of hospitals in Sao Paulo, Brazil",
    positive=("Covid",),
    negative=("Healthy", "Others"),
    counts=(2005, 2168),
    patients=210,
    values="PNG, windowed",
    license="see its home",
    home="https://www.kaggle.com/datasets/plameneduardo/a-covid-multiclass-dataset-of-ct-scans",
    citation="Soares et al.: Evolving Systems 15:635 (2024), doi 10.1007/s12530-023-09511-2",
    known_faults=(
        "The paper counts 4,173 slices, the release at Kaggle contains 4,171.",
        (
            "The hospitals and authors are those of sars-cov-2-ct; shared images are likely, "
            "though not confirmed."
        ),
    ),
    contains=("sars-cov-2-ct",),
    tested_on=_GENERATED,
    loader=_READERS + "class_folders:load_sars_cov_2_ct_multiclass",
    layout="New_Data_CoV2/ with Covid/, Healthy/ and Others/, each with a folder per patient",
    how_to_get="download it from its home and unpack it",
    group_kind="patient",
    ids_per_class=True,
)

LARGE_COVID_19_CT_SLICES = DatasetInfo(
    name="large-covid-19-ct-slices",
    title="Large COVID-19 CT slice dataset, curated out of seven public sets",
    positive=("COVID-19",),
    negative=("Normal", "CAP"),
    counts=(9511, 7593),
    patients=1130,
    values="PNG, windowed in several ways",
    license="per source; see its home",
    home="https://www.kaggle.com/datasets/maedemaftouni/large-covid19-ct-slice-dataset",
    citation="Maftouni et al.: IISE Annual Conference (2021), "
    "https://github.com/maftouni/Curated_Covid_CT",
    known_faults=(
        (
            "Source and class go together: all CAP slices are of COVID-CT-MD, while COVID-19 "
            "slices are of seven sources and normal ones of three."
        ),
        "Papers count 466 COVID-19 and 60 CAP patients; the files name 464 and 54 ids.",
        "The first column of the label files, index, is not unique.",
        (
            "Some normal and CAP patients have ids of two kinds (N016, normal037; cp001, cap006); "
            "they are taken for different patients, which is uncertain."
        ),
    ),
    contains=(
        "covid-19-ct-seg",
        "covid-chestxray",
        "covid-ct-md",
        "covid-ctset",
        "covid19-ct",
        "covidx-ct",
        "medseg-covid-19",
        "mosmed-1110",
    ),
    tested_on=_GENERATED,
    loader=_READERS + "label_files:load_large_covid_19_ct_slices",
    layout="meta_data_covid.csv, meta_data_normal.csv and meta_data_cap.csv, and the images in "
    "curated_data/curated_data/ with 1NonCOVID/, 2COVID/ and 3CAP/",
    how_to_get="download it from its home and unpack it",
    group_kind="patient",
)

ICTCF = DatasetInfo(
    name="ictcf",
    title="iCTCF (HUST-19), slices with and without lesions of hospitals in Wuhan, China",
    positive=("pCT",),
    negative=("nCT",),
    counts=(9979, 4001),
    patients=104,
    values="JPEG, windowed",
    license="CC BY 4.0; as quoted by others, to be checked at its home",
    home="https://ictcf.biocuckoo.cn",
    citation="Ning et al.: Nat. Biomed. Eng. 4:1197 (2020)",
    known_faults=(
        (
            "The slices name no patients. Keep near-duplicates together, and expect scores to be "
            "too high all the same."
        ),
        "nCT are slices without lesions, of patients with and without COVID-19.",
        (
            "NiCT (5,705 slices that show no usable lung) are left out unless negative= names "
            "them; some texts swap its count with that of nCT."
        ),
    ),
    contains=("covidx-ct",),
    tested_on=_GENERATED,
    loader=_READERS + "class_folders:load_ictcf",
    layout="pCT/, nCT/ and optionally NiCT/, each with files such as pCT1406.jpg",
    how_to_get="download the three archives of slices from its home and unpack them side by side",
)

CC_CCII = DatasetInfo(
    name="cc-ccii",
    title="CC-CCII, scans of the China Consortium of Chest CT Image Investigation",
    positive=("NCP",),
    negative=("CP", "Normal"),
    counts=(208_673, 131_517),
    patients=2698,
    values="PNG and JPEG, windowed, in part with all but the lung masked",
    split="unofficial; option split='hkbu' takes the lists of HKBU",
    license="CC BY 3.0 CN; as quoted by others, to be checked at its home",
    home="http://ncov-ai.big.ac.cn/download",
    citation="Zhang et al.: Cell 181:1423 (2020); counts of the cleaned release of He et al.",
    known_faults=(
        (
            "402 of 4,051 scans have repeated or foreign slices, and 159 are out of order; option "
            "faulty= leaves them out by the list CT_cleaned_v2.csv in your copy."
        ),
        (
            "766 scans show the lung only, 606 of them normal: the black background predicts the "
            "class. masked='drop' leaves them out, by the same list."
        ),
        "JPEG and PNG files, and sizes, differ within a scan.",
        "The archive NCP-13.zip is reported to be damaged.",
    ),
    contains=("covidx-ct",),
    tested_on=_GENERATED,
    loader=_READERS + "cc_ccii:load",
    layout="NCP/ (or COVID19/), CP/ and Normal/, each with a folder per patient that contains a "
    "folder per scan, such as NCP/16/1164/0000.png",
    how_to_get="download the archives NCP-n.zip (COVID19-n.zip), CP-n.zip and Normal-n.zip from "
    "its home and unpack them; CT_cleaned_v2.csv and the lists of the split are in "
    "https://github.com/HKBU-HPML/HKBU_HPML_COVID-19",
    group_kind="patient",
)

MOSMED_1110 = DatasetInfo(
    name="mosmed-1110",
    title="MosMedData COVID19_1110, CT volumes of hospitals in Moscow, Russia",
    positive=("CT-1", "CT-2", "CT-3", "CT-4"),
    negative=("CT-0",),
    counts=(254, 856),
    unit="volumes",
    patients=1110,
    values="NIfTI, Hounsfield units",
    license="CC BY-NC-ND 3.0; a page that its documentation links says CC BY 4.0",
    home="https://mosmed.ai/datasets/covid19_1110",
    citation="Morozov et al.: arXiv:2005.06465 (2020)",
    known_faults=(
        (
            "Labels are degrees of radiological signs, without PCR: calling CT-1 to CT-4 COVID-19 "
            "is an assumption."
        ),
        "Each volume contains about every tenth slice (8 mm apart).",
        "The 50 lesion masks are all of CT-1.",
    ),
    contains=("covidx-ct", "large-covid-19-ct-slices"),
    tested_on=_GENERATED,
    loader=_READERS + "label_files:load_mosmed_1110",
    layout="studies/ with CT-0/ to CT-4/, which contain study_0001.nii.gz, ...; optionally masks/ "
    "with study_0255_mask.nii.gz, ... (folders without classes need dataset_registry.csv or .xlsx)",
    how_to_get="download it from its home and unpack it",
    group_kind="patient",
)

STOIC2021 = DatasetInfo(
    name="stoic2021",
    title="STOIC2021, public training volumes of a study of French hospitals",
    positive=("COVID-19",),
    negative=("RT-PCR negative",),
    counts=(795, 1205),
    unit="volumes",
    patients=2000,
    values="MHA, Hounsfield units",
    license="CC BY-NC 4.0",
    home="https://stoic2021.grand-challenge.org",
    citation="Revel et al.: Radiology 301:E361 (2021)",
    known_faults=(
        "Negatives are RT-PCR negative, which does not mean healthy.",
        "The test set of the challenge is not public.",
    ),
    contains=("covidx-ct",),
    tested_on=_GENERATED,
    loader=_READERS + "label_files:load_stoic2021",
    layout="data/mha/ with 10011.mha, ... and metadata/reference.csv",
    how_to_get="aws s3 sync --no-sign-request s3://stoic2021-training/ FOLDER",
    group_kind="patient",
)

MIDRC_RICORD_1 = DatasetInfo(
    name="midrc-ricord-1",
    title="MIDRC-RICORD 1A and 1B, CT studies of four sites",
    positive=("RICORD-1A",),
    negative=("RICORD-1B",),
    counts=(120, 120),
    unit="volumes",
    values="DICOM, Hounsfield units",
    license="CC BY-NC 4.0",
    home="https://www.cancerimagingarchive.net",
    citation="Tsai et al.: The RSNA International COVID-19 Open Radiology Database (RICORD), "
    "Radiology 299:E204 (2021)",
    known_faults=(
        "The class is the collection: 1A is positive, 1B negative.",
        (
            "Studies contain several series, among them localizers, reformats and projections; the "
            "original axial series with the most slices is taken."
        ),
    ),
    tested_on=_GENERATED,
    loader=_READERS + "ricord:load",
    layout="MIDRC-RICORD-1A/ and MIDRC-RICORD-1B/, each with a folder per patient that contains "
    "studies, series and DICOM files, as the NBIA Data Retriever writes them",
    how_to_get="download the collections MIDRC-RICORD-1A and MIDRC-RICORD-1B of its home into one "
    "folder",
    group_kind="patient",
)

COV19_CT_DB = DatasetInfo(
    name="cov19-ct-db",
    title="COV19-CT-DB, scans of the MIA-COV19D challenges",
    positive=("covid",),
    negative=("non-covid",),
    values="JPEG, windowed",
    split="train, val",
    license="by agreement; not to be passed on",
    home="https://mlearn.lincoln.ac.uk",
    citation="Kollias et al.: MIA-COV19D, ICCV Workshops (2021); see its home for the papers that "
    "its agreement asks for",
    known_faults=(
        "Patients are not named; a group is a scan.",
        "Numbers of scans start again in each class and part.",
        "The labels of the test scans are not public; they are left out.",
        "The releases of the challenges differ in size.",
    ),
    tested_on=_GENERATED,
    loader=_READERS + "class_folders:load_cov19_ct_db",
    layout="train/ and val/ (or validation/), each with covid/ and non-covid/ that contain folders "
    "ct_scan_0/, ... of JPEG files; or covid1/, covid2/, non-covid1/, ... for training and "
    "validation/val/",
    how_to_get="ask the organizers at its home for access",
    group_kind="scan",
)

COVID_CHESTXRAY = DatasetInfo(
    name="covid-chestxray",
    title="COVID-19 image data collection (axial CT only), figures of papers and web pages",
    positive=("COVID-19",),
    counts=(4, 64),
    values="JPEG and PNG of any size, windowed; NIfTI volumes",
    license="per image; see the column license, CC BY-NC-SA 4.0 most often",
    home="https://github.com/ieee8023/covid-chestxray-dataset",
    citation="Cohen et al.: COVID-19 image data collection, arXiv:2006.11988 (2020)",
    known_faults=(
        "Four slices are negative: use it as a further source of COVID-19 slices.",
        "Images carry arrows and letters, and their sizes and colors vary.",
        "The 21 volumes, which are not in the repository, contain the scans of covid-19-ct-seg.",
    ),
    contains=("covid-19-ct-seg", "covidx-ct", "large-covid-19-ct-slices", "medseg-covid-19"),
    tested_on=_GENERATED,
    loader=_READERS + "label_files:load_covid_chestxray",
    layout="metadata.csv and images/, optionally volumes/",
    how_to_get="git clone https://github.com/ieee8023/covid-chestxray-dataset",
    group_kind="patient",
)

COVID_19_CT_SEG = DatasetInfo(
    name="covid-19-ct-seg",
    title="COVID-19-CT-Seg, 20 volumes with masks of lung and infection",
    positive=("COVID-19",),
    counts=(0, 20),
    unit="volumes",
    patients=18,
    values="NIfTI: coronacases in Hounsfield units, radiopaedia windowed",
    license="CC BY-NC-SA; sources disagree, one says CC BY 4.0",
    home="https://zenodo.org/record/3757476",
    citation="Ma et al.: Med. Phys. 48:1197 (2021)",
    known_faults=(
        "All patients have COVID-19.",
        (
            "Ten volumes (coronacases) are in Hounsfield units, ten (radiopaedia) were clipped to "
            "-1250 to 250 HU and scaled to 0 to 255."
        ),
        "Two patients have two volumes each: radiopaedia 10 and 29.",
    ),
    contains=("covid-chestxray", "covidx-ct", "large-covid-19-ct-slices", "medseg-covid-19"),
    tested_on=_GENERATED,
    loader=_READERS + "lesion_masks:load_covid_19_ct_seg",
    layout="COVID-19-CT-Seg_20cases/, Infection_Mask/ and optionally Lung_Mask/, with equal file "
    "names such as coronacases_001.nii.gz",
    how_to_get="download the archives from its home and unpack them side by side",
    group_kind="patient",
)

MEDSEG_COVID_19 = DatasetInfo(
    name="medseg-covid-19",
    title="MedSeg COVID-19 CT segmentation, 100 slices and 9 volumes with lesion masks",
    positive=("COVID-19",),
    counts=(0, 10),
    unit="volumes",
    values="NIfTI",
    license="CC0 1.0; for the volumes, while the slices come from case reports of others",
    home="http://medicalsegmentation.com/covid19",
    citation="MedSeg: COVID-19 CT segmentation dataset, Figshare 13521488 and 13521509",
    known_faults=(
        "All patients have COVID-19.",
        (
            "The 100 slices are of more than 40 patients in one file; they form one group, since "
            "their patients are not read."
        ),
        (
            "The lesion mask is every label that is not zero; one of these labels may be pleural "
            "effusion (uncertain)."
        ),
        "The volumes are probably Radiopaedia cases of covid-19-ct-seg (uncertain).",
    ),
    contains=("covid-19-ct-seg", "covid-chestxray", "covidx-ct", "large-covid-19-ct-slices"),
    tested_on=_GENERATED,
    loader=_READERS + "lesion_masks:load_medseg_covid_19",
    layout="tr_im.nii.gz with tr_mask.nii.gz, or rp_im/ and rp_msk/ with 1.nii.gz to 9.nii.gz; "
    "optionally tr_lungmasks_updated.nii.gz and rp_lung_msk/",
    how_to_get="download the files from its home, unpack the archives and keep their folders",
    group_kind="volume",
)

PUBLIC_SETS = (
    COVIDX_CT,
    COVID_CTSET,
    COVID_CT_MD,
    SARS_COV_2_CT_MULTICLASS,
    LARGE_COVID_19_CT_SLICES,
    ICTCF,
    CC_CCII,
    MOSMED_1110,
    STOIC2021,
    MIDRC_RICORD_1,
    COV19_CT_DB,
    COVID_CHESTXRAY,
    COVID_19_CT_SEG,
    MEDSEG_COVID_19,
)
