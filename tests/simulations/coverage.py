"""How often 95 % intervals hold the truth.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/simulations/coverage.py

Prints the tables of docs/intervals.md within ten minutes on one core. Studies are made
of subjects who are drawn from a population: their scores are normal, alike within a
subject and between labels, and become the true probabilities of the label.
"""

import itertools
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from local.metrics.intervals import linearised, linearised_auroc
from local.metrics.linearised import mean_over_labels
from local.metrics.measures import PROBABILITY_MEASURES, threshold_measures
from local.utils.ranking import auroc, plain_auroc

N_RECORDINGS = 6
INTRACLASS_CORRELATION = 0.6
TRUE_AUROC = 0.85

#: Of a subject's scores of two labels.
LABEL_CORRELATION = 0.5

#: Labels of a study, and of how many of them there are means.
N_LABELS, MEANS = 5, (2, 5)

N_STUDIES, N_CROSS_VALIDATED = 300, 100
N_FOLDS, N_FEATURES = 5, 4

#: Recordings that stand for the population.
MANY = 400_000

SHARES = ("sensitivity", "specificity", "ppv", "npv", "f1")
SHOWN = ("auroc", "macro of 2", "macro of 5", *SHARES)
SHOWN += ("balanced_accuracy", "brier", "log_loss", "auprc", "net_benefit")


class Cell(NamedTuple):
    """A kind of study.

    varying: Whether each recording has a label of its own, or each subject.
    unequal: Whether the numbers of recordings are geometric, or all the same.
    """

    n_subjects: int
    prevalence: float
    varying: bool
    unequal: bool = False
    auroc: float = TRUE_AUROC


N_OF_GRID, PREVALENCES = (20, 40, 100, 200), (0.1, 0.2, 0.5)
CELLS = [
    Cell(n_subjects, prevalence, varying, unequal)
    for unequal, varying, n_subjects, prevalence in itertools.product(
        (False, True), (False, True), N_OF_GRID, PREVALENCES
    )
]


def distance(auroc):
    """Between the means of two scores of variance 1, for this AUROC."""
    return np.sqrt(2) * norm.ppf(auroc)


def simulated(
    generator: np.random.Generator, cell: Cell, n_labels: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a study.

    Returns targets, scores: [n_labels, n], Scores normal with variance 1 within a
        class.
    Returns subjects: [n]
    """
    n = cell.n_subjects
    counts = np.full(n, N_RECORDINGS)
    if cell.unequal:
        counts = generator.geometric(1 / N_RECORDINGS, n)
    subjects = np.repeat(np.arange(n), counts)
    if cell.varying:
        targets = generator.random((n_labels, len(subjects))) < cell.prevalence
    else:
        targets = (generator.random((n_labels, n)) < cell.prevalence)[:, subjects]
    common = generator.normal(size=n)
    own = generator.normal(size=(n_labels, n))
    of_subject = np.sqrt(LABEL_CORRELATION) * common
    of_subject = of_subject + np.sqrt(1 - LABEL_CORRELATION) * own
    noise = generator.normal(size=targets.shape)
    scores = np.sqrt(INTRACLASS_CORRELATION) * of_subject[:, subjects]
    scores += np.sqrt(1 - INTRACLASS_CORRELATION) * noise
    return targets.astype(float), scores + distance(cell.auroc) * targets, subjects


def probabilities(scores, prevalence):
    """Of a positive, given the score: by Bayes."""
    d = distance(TRUE_AUROC)
    return expit(logit(prevalence) + d * scores - d**2 / 2)


def measures(prevalence):
    """All measures by name, decisions at the prevalence."""
    return PROBABILITY_MEASURES | threshold_measures(prevalence)


@cache
def truths(prevalence):
    """The value of each measure in the population."""
    cell = Cell(MANY // N_RECORDINGS, prevalence, varying=True)
    (targets,), (scores,), _ = simulated(np.random.default_rng(0), cell)
    given = targets, probabilities(scores, prevalence), np.ones((1, len(targets)))
    values = {name: each(*given)[0] for name, each in measures(prevalence).items()}
    means = {f"macro of {n}": TRUE_AUROC for n in MEANS}
    return values | means | {"auroc": TRUE_AUROC}


def means_of(aurocs):
    """The intervals of their means over two labels, and over all."""
    return {
        f"macro of {n}": mean_over_labels(
            {str(i): each for i, each in enumerate(aurocs[:n])}
        ).interval()
        for n in MEANS
    }


def study(generator: np.random.Generator, cell: Cell) -> dict[str, tuple[dict, float]]:
    """The interval and the truth of each measure of a study, by name.

    Another interval is tested by adding it here.
    """
    targets, scores, subjects = simulated(generator, cell, N_LABELS)
    given = targets[0], probabilities(scores[0], cell.prevalence), subjects
    intervals = {
        name: estimate.interval()
        for name, estimate in linearised(measures(cell.prevalence), *given).items()
    }
    aurocs = [
        linearised_auroc(*rows, subjects) for rows in zip(targets, scores, strict=True)
    ]
    intervals |= means_of(aurocs)
    true = truths(cell.prevalence)
    return {name: (interval, true[name]) for name, interval in intervals.items()}


def near_one(generator: np.random.Generator, cell: Cell) -> dict:
    """The same of AUROC and its means alone, whatever the true one is."""
    targets, scores, subjects = simulated(generator, cell, N_LABELS)
    aurocs = [
        linearised_auroc(*rows, subjects) for rows in zip(targets, scores, strict=True)
    ]
    found = {"auroc": aurocs[0].interval()} | means_of(aurocs)
    return {name: (interval, cell.auroc) for name, interval in found.items()}


def cross_validated(generator: np.random.Generator, cell: Cell) -> dict:
    """The same of logistic regressions on noisy scores, trained fold by fold.

    The truth is that of these regressions, on average, in the population.
    """

    def features(scores):
        noise = generator.normal(size=(*scores.shape, N_FEATURES))
        return scores[..., None] + noise

    many = Cell(20_000 // N_RECORDINGS, cell.prevalence, varying=True)
    population, scores, _ = simulated(generator, many, 2)
    of_population = features(scores)
    targets, scores, subjects = simulated(generator, cell, 2)
    x, folds = features(scores), subjects % N_FOLDS
    decisions = {name: measures(cell.prevalence)[name] for name in SHARES}
    ones, estimates, true = np.ones((1, population.shape[1])), [], []
    for label, y in enumerate(targets):
        p, of_folds = np.full(len(y), np.nan), []
        for fold in range(N_FOLDS):
            train, test = folds != fold, folds == fold
            if len(set(y[train])) < 2:
                return {}
            model = LogisticRegression().fit(x[label, train], y[train])
            p[test] = model.predict_proba(x[label, test])[:, 1]
            everybody = model.predict_proba(of_population[label])[:, 1]
            given = population[label], everybody
            values = {name: each(*given, ones)[0] for name, each in decisions.items()}
            # a fold with one class is not in AUROC
            ranked = plain_auroc(*given) if len(set(y[test])) == 2 else np.nan
            of_folds.append(values | {"auroc": ranked})
        functions = {"auroc": auroc, **decisions}
        estimates.append(linearised(functions, y, p, subjects, folds=folds))
        true.append({k: np.nanmean([of[k] for of in of_folds]) for k in functions})
    intervals = {name: each.interval() for name, each in estimates[0].items()}
    mean = mean_over_labels({str(i): each["auroc"] for i, each in enumerate(estimates)})
    intervals["macro of 2"] = mean.interval()
    true[0]["macro of 2"] = np.mean([each["auroc"] for each in true])
    return {name: (interval, true[0][name]) for name, interval in intervals.items()}


def coverage(cell: Cell, n_studies: int, made=study, seed: int = 1) -> dict:
    """Simulate studies and compare their intervals with the truth.

    made: `study` or `cross_validated`.

    Returns: By measure the share of intervals that hold the truth, of the studies that
        have one, where these are a quarter or more; "n": those that have one of AUROC.
    """
    n, prevalence, *kind = cell[:4]
    generator = np.random.default_rng([seed, n, int(100 * prevalence), *kind])
    held = {name: [] for name in SHOWN}
    for _ in range(n_studies):
        for name, (interval, truth) in made(generator, cell).items():
            if name in held and interval["low"] is not None:
                held[name].append(interval["low"] <= truth <= interval["high"])
    shares = {
        name: np.mean(each) for name, each in held.items() if len(each) >= n_studies / 4
    }
    return shares | {"n": len(held["auroc"])}


def print_table(cells, n_studies, made, shown=SHOWN):
    """Print a Markdown table of percentages with a row per cell."""
    titles = ["subjects", "positive", "label", "studies", *shown]
    print("| " + " | ".join(titles).replace("_", " ") + " |")
    print("|" + " -: |" * len(titles))
    for cell in cells:
        found = coverage(cell, n_studies, made)
        row = [cell.n_subjects, f"{cell.prevalence:.0%}"]
        row += ["varying" if cell.varying else "constant", found["n"]]
        row += [f"{100 * found[k]:.0f}" if k in found else "–" for k in shown]
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
    print()


def main():
    """Print the grids: equal and unequal numbers of recordings, cross-validation."""
    for unequal in (False, True):
        print("Unequal" if unequal else "Equal", "numbers of recordings\n")
        cells = [cell for cell in CELLS if cell.unequal == unequal]
        print_table(cells, N_STUDIES, study)
    print("A true AUROC of 0.97\n")
    cells = [
        Cell(n, 0.5, varying, auroc=0.97)
        for varying in (False, True)
        for n in N_OF_GRID
    ]
    print_table(cells, 4 * N_STUDIES, near_one, ("auroc", "macro of 2", "macro of 5"))
    print("Cross-validation\n")
    cells = [Cell(n, share, varying=False) for n in (40, 100) for share in PREVALENCES]
    shown = ("auroc", "macro of 2", *SHARES)
    print_table(cells, N_CROSS_VALIDATED, cross_validated, shown)


if __name__ == "__main__":
    main()
