"""TRIPOD+AI: what its checklist asks for and an experiment can answer.

Collins and others (2024), BMJ 385:e078378, https://doi.org/10.1136/bmj-2023-078378.
"""

from local.evaluation.result import EvaluationResult
from local.report import described
from local.report.tables import Table, word
from local.utils.number_format import counted, listed

AUTHORS = "To be filled in by the authors"

#: Items of the checklist, by number, and what each asks for.
ITEMS = {
    "1": "Title: development or evaluation, population, outcome",
    "2": "Abstract: by TRIPOD+AI for Abstracts",
    "3a": "Background: healthcare context and rationale",
    "3b": "Background: target population, purpose, intended users",
    "3c": "Background: known health inequalities",
    "4": "Objectives: development, evaluation or both",
    "5a": "Data: sources and how representative they are",
    "5b": "Data: dates of recruitment and follow-up",
    "6a": "Participants: setting, number and location of centres",
    "6b": "Participants: eligibility criteria",
    "6c": "Participants: treatments received",
    "7": "Data preparation: pre-processing and quality checks",
    "8a": "Outcome: definition, when and how assessed",
    "8b": "Outcome: qualifications of those who assessed it",
    "8c": "Outcome: blinding of its assessment",
    "9a": "Predictors: choice and pre-selection",
    "9b": "Predictors: definition and measurement",
    "9c": "Predictors: qualifications of those who assessed them",
    "10": "Sample size: how it was arrived at",
    "11": "Missing data: how they were handled",
    "12a": "Analysis: how the data were used and partitioned",
    "12b": "Analysis: how predictors were transformed",
    "12c": "Analysis: type of model, building steps, internal validation",
    "12d": "Analysis: heterogeneity across clusters",
    "12e": "Analysis: measures and plots of performance",
    "12f": "Analysis: model updating, as recalibration",
    "12g": "Analysis: how predictions were calculated",
    "13": "Class imbalance: methods, and recalibration after them",
    "14": "Fairness: approaches used",
    "15": "Model output: its kind, and how thresholds were found",
    "16": "Training versus evaluation: differences of the data",
    "17": "Ethical approval and consent",
    "18a": "Funding",
    "18b": "Conflicts of interest",
    "18c": "Protocol",
    "18d": "Registration",
    "18e": "Data sharing",
    "18f": "Code sharing",
    "19": "Patient and public involvement",
    "20a": "Participants: flow, numbers with and without the outcome",
    "20b": "Participants: characteristics and missing data",
    "20c": "Participants: comparison with the development data",
    "21": "Model development: participants and events in each analysis",
    "22": "Model specification: what is needed to use the model",
    "23a": "Model performance: estimates with intervals, subgroups",
    "23b": "Model performance: heterogeneity across clusters",
    "24": "Model updating: results",
    "25": "Interpretation, with fairness",
    "26": "Limitations",
    "27a": "Usability: poor or unavailable input data",
    "27b": "Usability: what users have to do and to know",
    "27c": "Next steps, applicability and generalisability",
}

#: Columns whose values are clusters of recordings.
CLUSTERS = ("site", "device")


def checklist(evidence: EvaluationResult) -> Table:
    """The items of the checklist with what this experiment can answer.

    Returns: Items that only the authors can answer say so.
    """
    answers = _on_evaluation(evidence) | _on_groups(evidence)
    if evidence.manifests:
        answers |= _on_data(evidence)
    if evidence.settings:
        answers |= _on_model(evidence.settings)
    table = Table("TRIPOD+AI checklist", ["item", "what is asked for", "answer"])
    for item, asked in ITEMS.items():
        answer = answers.get(item, f"{AUTHORS}.")
        table.add(item, word(asked), word(answer))
    return table


def authors(what):
    """What is left for the authors to say.

    >>> authors("dates")
    'To be filled in by the authors: dates.'
    """
    return f"{AUTHORS}: {what}."


def compared_columns(evidence):
    """Columns whose groups could be compared, for any label, and those too small."""
    n_groups = {}
    for entry in (evidence.metrics.get("subgroups") or {}).values():
        for column, tested in entry["columns"].items():
            n_groups[column] = max(tested["n_groups"], n_groups.get(column, 0))
    compared = [column for column, n in n_groups.items() if n > 1]
    return compared, [column for column in n_groups if column not in compared]


def _on_evaluation(evidence):
    kind = "Development and evaluation" if evidence.settings else "Evaluation only"
    labels = listed(evidence.metrics["labels"])
    return {
        "1": f"{kind} of a model that predicts from a recording: {labels}. "
        + authors("target population"),
        "4": f"{kind}. " + authors("objectives"),
        "8a": "How ratings are coded: see Labels. "
        + authors("what raters listened for, when, and why these features"),
        "9c": "Not applicable: predictors are computed from the recording.",
        "10": "Numbers: see Evaluation data and Training data. "
        + authors("how they were arrived at"),
        "11": "A recording without a rating of a label does not count for that label; "
        "no value is imputed. Recordings that could not be used: see Evaluation data.",
        "12e": "See Metrics.",
        "12g": "See Model details for the checkpoint, and report.html for the command."
        if evidence.settings
        else "Unknown: the predictions were read from a file.",
        "15": "See Labels for the kind of output, Metrics for thresholds. "
        + authors("rationale of any decision"),
        "21": "See Evaluation data."
        if evidence.manifests
        else "Evaluation: see Quantitative analyses. Development: unknown.",
        "23a": "See Quantitative analyses.",
        "26": "See Caveats. " + authors("their effects on conclusions"),
    }


def _on_groups(evidence):
    """Items on groups of people and on clusters of recordings."""
    both = compared_columns(evidence)
    people, clusters = (
        _comparison(*([c for c in some if (c in CLUSTERS) == wanted] for some in both))
        for wanted in (False, True)
    )
    known = "No approach to fairness is part of the training. " * bool(
        evidence.settings
    )
    return {
        "12d": clusters,
        "14": f"{known}{people} " + authors("rationale"),
        "23b": clusters,
    }


def _comparison(compared, too_small):
    """What became of the comparison of groups by some columns."""
    if compared:
        return (
            f"Results were compared by {listed(compared)}, with a permutation test of "
            "subjects: see Subgroups."
        )
    if too_small:
        return f"Not examined: groups by {listed(too_small)} are too small."
    return "Not examined: the data name no such groups."


def _on_data(evidence):
    splits = {
        name: f"{name} {counted(len(frame), 'recording')} of "
        f"{counted(frame['subject'].nunique(), 'subject')}"
        for name, frame in evidence.manifests.items()
    }
    result = {
        "12a": f"Partitioned by subject: {'; '.join(splits.values())}. Subjects in "
        "more than one split: see Confound audit. "
        + authors("whether other data were used"),
        "20a": "See Evaluation data.",
        "20b": "See Evaluation data. " + authors("dates, treatments"),
    }
    if len(splits) > 1:
        result["16"] = "Numbers side by side: see Evaluation data. " + authors(
            "differences in setting, eligibility and ratings"
        )
        result["20c"] = "See Evaluation data, a column per split."
    if evidence.raters():
        result["8b"] = "Agreement of raters: see Raters. " + authors(
            "qualifications and demographics of raters"
        )
    return result


def _on_model(settings):
    recalibration = described.calibration(settings) or "unknown"
    balance = described.optimisation(settings, has_validation=True)
    predictors = described.predictors(settings)
    return {
        "7": "See Training data. " + authors("whether it was alike for all groups"),
        "9a": f"The model gets {predictors}; no predictor was selected.",
        "9b": "Spectral features of the recording: see Training data. "
        + authors("how recordings were made"),
        "12b": "See Training data.",
        "12c": "See Model details and Training data. "
        + authors("rationale, and which settings were tuned on which data"),
        "12f": "No updating arises from this evaluation. Calibration before it: "
        f"{recalibration}.",
        "13": f"Weight of classes: {balance['Balance of classes'] or 'unknown'}.",
        "22": "Settings, weights and thresholds are in the experiment's folder. "
        + authors("how to get access"),
        "24": "Not applicable: the model was not updated after this evaluation.",
        "27a": "Recordings that can't be decoded, are truncated, silent or too short "
        "are refused, with the reason. Noise and other poor quality are not noticed. "
        + authors("how they should be handled"),
    }
