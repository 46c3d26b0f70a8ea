"""The items of the reporting guidelines TRIPOD+AI and CLAIM.

The topics are summaries in our own words. The full texts of the items, with explanations, are in
the publications that the guidelines cite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ._answers import Answers

__all__ = ["GUIDELINES", "ChecklistItem", "Guideline"]


@dataclass(frozen=True)
class ChecklistItem:
    """Item of a reporting guideline.

    Attributes
    ----------
    number : str
        Number of the item in the guideline.
    topic : str
        Topic in a few words.
    answer : callable or None, default=None
        Function that answers the item from a run; it returns None if this run does not answer it.
    author : str, default=""
        Statement that only the author can make; empty if a run answers the whole item.
    """

    number: str
    topic: str
    answer: Callable[[Answers], str | None] | None = None
    author: str = ""


@dataclass(frozen=True)
class Guideline:
    """Reporting guideline.

    Attributes
    ----------
    name : str
        Name, such as ``"TRIPOD+AI"``.
    citation : str
        Publication with the full text of the items.
    items : tuple of ChecklistItem
        All items, in their order.
    """

    name: str
    citation: str
    items: tuple[ChecklistItem, ...]


_I = ChecklistItem

#: Reporting guidelines by their short name, with all of their items.
GUIDELINES: Mapping[str, Guideline] = {
    "tripod-ai": Guideline(
        "TRIPOD+AI",
        "Collins et al., TRIPOD+AI statement, BMJ 385 (2024) e078378",
        (
            _I("1", "title", author="Model, patients and outcome in the title."),
            _I("2", "abstract", author="Abstract, by TRIPOD+AI for Abstracts."),
            _I("3a", "clinical context", author="Context, rationale and existing models."),
            _I("3b", "target population", author="Patients, place in the pathway, and users."),
            _I("3c", "health inequalities", author="Known inequalities between groups."),
            _I("4", "objectives", author="Aims; development, evaluation or both."),
            _I("5a", "data sources", Answers.data, "Origin, and how representative the data are."),
            _I("5b", "dates of the data", author="Start and end of the collection."),
            _I("6a", "setting", author="Kind, number and place of the centers."),
            _I("6b", "eligibility", author="Criteria of inclusion and exclusion."),
            _I("6c", "treatments", author="Treatments, if they could change the images."),
            _I("7", "data preparation", Answers.preparation, "Processing before covidct."),
            _I("8a", "outcome", Answers.outcome, "How and when COVID-19 was diagnosed."),
            _I("8b", "outcome assessors", author="Qualification of those who judged the outcome."),
            _I("8c", "blinding of outcome", author="Knowledge of the CT when it was judged."),
            _I("9a", "choice of predictors", Answers.predictors, "Reason for this choice."),
            _I("9b", "predictors", Answers.preparation, "Scanners, protocols, and time of the CT."),
            _I("9c", "predictor assessors", Answers.assessment),
            _I("10", "sample size", Answers.numbers, "How the size was determined."),
            _I("11", "missing data", Answers.missing, "Patients without CT or outcome."),
            _I("12a", "use of the data", Answers.partition),
            _I("12b", "handling of predictors", Answers.preparation),
            _I(
                "12c",
                "model building",
                Answers.building,
                "Earlier experiments, and other settings.",
            ),
            _I("12d", "clusters", Answers.clusters),
            _I("12e", "performance measures", Answers.measures),
            _I("12f", "model updating", Answers.updating),
            _I("12g", "computing predictions", Answers.code),
            _I("13", "class imbalance", Answers.imbalance),
            _I("14", "fairness", Answers.subgroups, "Approaches to fairness, and their rationale."),
            _I("15", "model output", Answers.output, "Clinical rationale of the threshold."),
            _I("16", "training and evaluation data", Answers.difference, "Other differences."),
            _I("17", "ethics", author="Approval and consent, or waiver."),
            _I("18a", "funding", author="Sources and role of the funders."),
            _I("18b", "conflicts of interest", author="Conflicts and financial disclosures."),
            _I("18c", "protocol", author="Access to the protocol, or none."),
            _I("18d", "registration", author="Register and number, or none."),
            _I("18e", "data sharing", author="Availability of the data."),
            _I("18f", "code sharing", Answers.code, "Availability of your own code."),
            _I("19", "public involvement", author="Involvement of patients and the public."),
            _I("20a", "flow of participants", Answers.flow, "Patients before this dataset."),
            _I("20b", "characteristics", author="Demographics, predictors and missing values."),
            _I("20c", "comparison with development", author="For an evaluation on other data."),
            _I("21", "numbers in each analysis", Answers.numbers),
            _I("22", "model specification", Answers.model, "Where others obtain the model."),
            _I("23a", "performance", Answers.performance, "Subgroups that matter clinically."),
            _I("23b", "heterogeneity", Answers.by_source),
            _I("24", "results of updating", Answers.updated),
            _I("25", "interpretation", author="Main results, objectives, earlier studies."),
            _I("26", "limitations", Answers.limitations, "Bias, uncertainty, generalizability."),
            _I("27a", "poor input", Answers.poor_input, "Handling of poor input in use."),
            _I("27b", "user interaction", author="Expertise and actions expected of users."),
            _I("27c", "next steps", author="Further research; applicability."),
        ),
    ),
    "claim": Guideline(
        "CLAIM",
        "Tejani et al., CLAIM: 2024 update, Radiology: Artificial Intelligence 6 (2024) e240300",
        (
            _I("1", "title", author="AI methodology and its category in the title."),
            _I("2", "abstract", author="Design, methods, results and conclusions."),
            _I("3", "background", author="Background, intended use and role."),
            _I("4", "aims", author="Aims, objectives and hypotheses."),
            _I("5", "prospective or retrospective", author="Design of the study."),
            _I("6", "study goal", author="Goal of the study."),
            _I("7", "data sources", Answers.data, "Origin of the data."),
            _I("8", "eligibility", author="Criteria of inclusion and exclusion."),
            _I("9", "data preprocessing", Answers.preparation, "Processing before covidct."),
            _I("10", "data subsets", author="Selection of slices or patients."),
            _I("11", "de-identification", author="Method of de-identification."),
            _I("12", "missing data", Answers.missing, "Patients without CT or outcome."),
            _I("13", "image acquisition", author="Scanners and protocols."),
            _I("14", "reference standard", Answers.outcome, "How COVID-19 was diagnosed."),
            _I("15", "choice of reference", author="Rationale of the reference standard."),
            _I("16", "source of annotations", author="Annotators and their qualification."),
            _I("17", "annotation of the test set", author="How test slices were labeled."),
            _I("18", "rater variability", author="Variability between and within raters."),
            _I("19", "partitions", Answers.partition),
            _I("20", "level of disjointness", Answers.disjoint),
            _I("21", "intended sample size", author="How the size was determined."),
            _I("22", "model", Answers.model),
            _I("23", "software", Answers.software),
            _I("24", "initialization", Answers.weights),
            _I("25", "training", Answers.training),
            _I("26", "final model", Answers.selection, "Earlier experiments."),
            _I("27", "ensembling", Answers.ensembling),
            _I("28", "metrics", Answers.measures),
            _I("29", "uncertainty", Answers.uncertainty),
            _I("30", "robustness", Answers.robustness, "Analyses of sensitivity."),
            _I("31", "explainability", Answers.explanations, "Judgment of the maps."),
            _I("32", "internal evaluation", Answers.internal),
            _I("33", "external testing", Answers.external, "Results on other sources."),
            _I("34", "trial registration", author="Register and number, if it is a trial."),
            _I("35", "included and excluded", Answers.flow, "Patients before this dataset."),
            _I("36", "characteristics", Answers.numbers, "Demographics by partition."),
            _I("37", "performance and uncertainty", Answers.performance),
            _I("38", "diagnostic performance", Answers.accuracy),
            _I("39", "failure analysis", Answers.failures, "Causes of the errors."),
            _I("40", "limitations", Answers.limitations, "Bias, uncertainty, generalizability."),
            _I("41", "implications for practice", author="Intended use and clinical role."),
            _I("42", "full protocol", author="Reference to the protocol or details."),
            _I("43", "availability", Answers.code, "Availability of data and model."),
            _I("44", "funding", author="Funding and role of the funders."),
        ),
    ),
}
