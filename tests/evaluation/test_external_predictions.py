"""Predictions from elsewhere, from the command to its files."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import read_csv, write_csv
from scipy.special import expit
from sklearn.metrics import roc_auc_score

import evaluate
from local.data.predictions_table import write_predictions
from local.evaluation.baselines import ACOUSTIC, PREVALENCE
from local.evaluation.operating_points import fit_operating_points
from local.evaluation.parts import NO_TRAINING
from local.utils.errors import UserError

LABELS = ("slow", "loud")


def make_table(split, n_subjects=30, seed=0, prefix="p"):
    """Two recordings per subject, two labels, logits that know a little of them."""
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(n_subjects):
        for take in range(2):
            for label in LABELS:
                target = int(generator.random() < 0.5)
                score = generator.normal(2 * target - 1, 1.2)
                rows.append(
                    {
                        "uid": f"{prefix}{i:02d}_{take}",
                        "subject": f"{prefix}{i:02d}",
                        "label": label,
                        "target": float(target),
                        "logit": score,
                        "probability": expit(score),
                        "session": "",
                        "split": split,
                        "predicted": pd.NA,
                    }
                )
    return pd.DataFrame(rows).astype({"predicted": "Int8"})


def run(tmp_path, table, *options):
    """Status and metrics of an evaluation."""
    path = tmp_path / "theirs.csv"
    write_predictions(table, path)
    folder = tmp_path / "results"
    status = evaluate.main(
        [
            "hparams/evaluate.yaml",
            f"--predictions_csv={path}",
            f"--output_folder={folder}",
            *map(str, options),
        ]
    )
    return status, folder


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture
def both():
    """Rows to choose thresholds on, and rows to be scored."""
    test = make_table("test", seed=1)
    return pd.concat([make_table("valid", seed=2, prefix="v"), test]), test


def test_all_files_and_the_thresholds_of_validation(tmp_path, both):
    table, test = both
    status, folder = run(tmp_path, table)
    assert status == 0
    found = metrics_of(folder)
    assert found["checkpoint"] is None
    csv = json.loads((folder / "scored_csv.json").read_text())
    assert csv["name"] == "theirs.csv"
    assert found["n_recordings"] == 60 and found["n_subjects"] == 30
    for label in LABELS:
        of = found["labels"][label]
        rows = test[test["label"] == label]
        assert of["auroc"]["value"] == pytest.approx(
            roc_auc_score(rows["target"], rows["probability"])
        )
        assert of["threshold"]["source"] == "validation"
        predicted = rows["probability"] >= of["threshold"]["value"]
        assert of["sensitivity"]["value"] == pytest.approx(
            predicted[rows["target"] == 1].mean()
        )
    written = read_csv(folder / "predictions.csv")
    assert len(written) == len(test)
    assert {row["split"] for row in written} == {"test"}
    assert {row["predicted"] for row in written} == {"0", "1"}
    for name in ("report.html", "model_card.md", "figures/roc.png"):
        assert (folder / name).stat().st_size > 1000
    audit = json.loads((folder / "audit.json").read_text())
    assert audit["labels"] == {} and "split_csv" in audit["reason"]


def test_decisions_of_the_file_count_where_there_is_no_validation(tmp_path, both):
    _, test = both
    decided = (np.arange(len(test)) % 3 == 0).astype(int)
    test = test.assign(predicted=pd.array(decided, dtype="Int8"))
    _, folder = run(tmp_path, test)
    of = metrics_of(folder)["labels"]["slow"]
    rows = test[test["label"] == "slow"]
    positive = rows["target"] == 1
    assert of["sensitivity"]["value"] == pytest.approx(
        rows["predicted"][positive].mean()
    )
    assert of["threshold"]["value"] is None
    written = read_csv(folder / "predictions.csv")
    assert [row["predicted"] for row in written] == [str(d) for d in decided]


def test_decisions_on_a_part_of_the_rows_are_not_used(tmp_path, both):
    _, test = both
    decided = test["predicted"].mask(test["label"] == "slow", 1)
    decided.iloc[0] = pd.NA
    _, folder = run(tmp_path, test.assign(predicted=decided), "--report=False")
    assert metrics_of(folder)["labels"]["slow"]["sensitivity"]["value"] is None
    assert {row["predicted"] for row in read_csv(folder / "predictions.csv")} == {""}


def test_a_set_sensitivity_and_a_calibration_are_those_of_validation(tmp_path, both):
    table, test = both
    _, folder = run(
        tmp_path,
        table,
        "--threshold_sensitivity=0.9",
        "--calibration=platt",
        "--report=False",
    )
    valid = table[(table["split"] == "valid") & (table["label"] == "slow")]
    of = metrics_of(folder)["labels"]["slow"]
    assert of["threshold"]["rule"] == {"sensitivity": 0.9}
    slope, intercept = of["calibration"]["slope"], of["calibration"]["intercept"]
    calibrated = expit(slope * valid["logit"] + intercept)
    found = calibrated[valid["target"] == 1] >= of["threshold"]["value"]
    assert 0.9 <= found.mean() < 0.9 + 2 / len(found)
    rows = read_csv(folder / "predictions.csv")
    logits = test.loc[test["label"] == "slow", "logit"]
    assert [float(row["probability"]) for row in rows if row["label"] == "slow"] == (
        pytest.approx(expit(slope * logits + intercept).tolist())
    )
    with pytest.raises(UserError, match="calibration platt is fitted on rows"):
        run(tmp_path, test, "--calibration=platt")


def test_a_fixed_threshold_decides_with_validation_or_without(tmp_path, both):
    table, test = both
    probabilities = test.loc[test["label"] == "slow", "probability"].to_numpy()
    for given in (test, table):
        options = ("--threshold={slow: 0.3}", "--report=False")
        _, folder = run(tmp_path, given, *options)
        threshold = metrics_of(folder)["labels"]["slow"]["threshold"]
        assert (threshold["value"], threshold["rule"]) == (0.3, "fixed")
        assert threshold["source"] == "given"
        rows = read_csv(folder / "predictions.csv")
        decided = [row["predicted"] for row in rows if row["label"] == "slow"]
        assert decided == [str(int(p >= 0.3)) for p in probabilities]
        others = {row["predicted"] for row in rows if row["label"] == "loud"}
        assert others == ({""} if given is test else {"0", "1"})
    with pytest.raises(UserError, match="threshold names slower: expected labels"):
        run(tmp_path, test, "--threshold={slower: 0.3}")
    with pytest.raises(UserError, match="above 0 and below 1"):
        run(tmp_path, test, "--threshold=50")


def test_nothing_to_decide_with_is_said(tmp_path, both):
    _, folder = run(tmp_path, both[1])
    of = metrics_of(folder)["labels"]["slow"]
    assert of["sensitivity"]["value"] is None and of["sensitivity"]["reason"]
    assert "no threshold" in of["threshold"]["reason"]


def test_plain_baselines_are_not_made_up(tmp_path, both):
    """They learn from training recordings, of which nothing is known here."""
    test = both[1]
    uids = test["uid"].unique()
    write_csv(tmp_path / "rows.csv", [{"uid": u, "subject": u[:3]} for u in uids])
    _, folder = run(tmp_path, both[0], f"--split_csv={tmp_path / 'rows.csv'}")
    found = metrics_of(folder)["baselines"]
    assert list(found) == [PREVALENCE, ACOUSTIC]
    for of in found.values():
        assert of["description"]
        assert of["labels"] == {label: {"reason": NO_TRAINING} for label in LABELS}
    page = (folder / "report.html").read_text()
    assert NO_TRAINING in page and "acoustic statistics" in page


def test_excluded_subjects_neither_count_nor_choose(tmp_path, both):
    """Ten of the validation subjects, and two of the others, withdrew."""
    table, test = both
    validation = table[table["split"] == "valid"]
    gone = [*sorted(validation["subject"].unique())[:10], "p00", "p07"]
    splits = tmp_path / "corpus" / "splits"
    rows = [{"uid": uid, "subject": uid[:3]} for uid in test["uid"].unique()]
    write_csv(splits / "test.csv", rows)
    kept = table[~table["subject"].isin(gone)]
    expected = fit_operating_points(kept[kept["split"] == "valid"], LABELS, seed=1986)
    everybody = fit_operating_points(validation, LABELS)
    option = f"--split_csv={splits / 'test.csv'}"
    for folder in (splits, splits.parent):  # beside the CSV, or beside its folder
        path = folder / "excluded_subjects.txt"
        path.write_text("\n".join(gone))
        _, results = run(tmp_path, table, option)
        found = metrics_of(results)
        assert (found["n_subjects"], found["n_recordings"]) == (28, 56)
        for label in LABELS:
            threshold = found["labels"][label]["threshold"]
            assert threshold == expected[label]["threshold"]
            assert threshold != everybody[label]["threshold"]
        assert "12 excluded subjects left out" in (results / "report.html").read_text()
        assert not {row["subject"] for row in read_csv(results / "predictions.csv")} & {
            *gone
        }
        path.unlink()
    (splits / "excluded_subjects.txt").write_text("\n".join(test["subject"].unique()))
    with pytest.raises(UserError, match="all subjects to be scored are in excluded"):
        run(tmp_path, table, option)


def test_a_csv_adds_subgroups_and_raters(tmp_path, both):
    table, test = both
    rows = [
        {
            "uid": uid,
            "subject": uid[:3],
            "sex": "fm"[int(uid[1:3]) % 2],
            "slow@ann": int(i % 2),
            "slow@bo": int(i % 3 == 0),
            "slow@cy": int(i % 5 == 0),
        }
        for i, uid in enumerate(test["uid"].unique())
    ]
    write_csv(tmp_path / "rows.csv", rows)
    _, folder = run(tmp_path, table, f"--split_csv={tmp_path / 'rows.csv'}")
    found = metrics_of(folder)
    groups = found["subgroups"]["slow"]["columns"]["sex"]["groups"]
    assert [of["group"] for of in groups] == ["f", "m"]
    assert sum(of["n"] for of in groups) == 60
    assert list(found["raters"]) == ["slow"]
    assert found["raters"]["slow"]["agreement"]["raters"] == ["ann", "bo", "cy"]


def test_recordings_are_audited_and_bad_ones_listed(tmp_path, corpus):
    rows = read_csv(corpus / "splits" / "test.csv")
    table = pd.DataFrame(
        {
            "uid": [row["uid"] for row in rows],
            "subject": [row["subject"] for row in rows],
            "label": "low",
            "target": [float(row["low"]) for row in rows],
            "logit": np.linspace(-1, 1, len(rows)),
            "probability": expit(np.linspace(-1, 1, len(rows))),
            "session": "",
            "split": "",
            "predicted": pd.array([None] * len(rows), dtype="Int8"),
        }
    )
    (corpus / "audio" / rows[0]["uid"] / "waveform.wav").write_bytes(b"no audio")
    (corpus / "excluded_subjects.txt").write_text(rows[-1]["subject"] + "\n")
    kept = [row for row in rows if row["subject"] != rows[-1]["subject"]]
    status, folder = run(
        tmp_path,
        table,
        f"--split_csv={corpus / 'splits' / 'test.csv'}",
        f"--data_folder={corpus / 'audio'}",
    )
    assert status == 3
    assert [row["uid"] for row in read_csv(folder / "failed.csv")] == [rows[0]["uid"]]
    written = read_csv(folder / "predictions.csv")
    assert [row["uid"] for row in written] == [row["uid"] for row in kept]
    audit = json.loads((folder / "audit.json").read_text())
    # eight recordings are too few for a probe: said, not guessed
    assert audit["labels"]["low"]["status"] == "not_computable"
    assert audit["label_shares"]["theirs"]["low"]["n"] == len(kept)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--experiment_folder=x"], "experiment_folder"),
        (["--features=x.parquet"], "features"),
        (["--data_folder=x"], "without split_csv"),
        (["--output_folder="], "needs --output_folder"),
        (["--subgroups=[sex]"], "subgroups names sex"),
        (["--threshold_sensitivity=2"], "above 0 and at most 1"),
        (["--threshold_sensitivity=True"], "above 0 and at most 1"),
        (["--calibration=isotonic"], "none or temperature or platt"),
        (["--audit=maybe"], "audit must be True or False"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, both, options, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path, both[0], *options)
    assert not (tmp_path / "results").exists()


def test_what_would_be_overwritten_stays(tmp_path, both):
    folder = tmp_path / "results"
    folder.mkdir()
    path = folder / "predictions.csv"
    write_predictions(both[0], path)
    before = path.read_bytes()
    arguments = ["hparams/evaluate.yaml", f"--output_folder={folder}"]
    with pytest.raises(UserError, match="would be replaced"):
        evaluate.main([*arguments, f"--predictions_csv={path}"])
    assert path.read_bytes() == before
    (folder / "save").mkdir()
    with pytest.raises(UserError, match="holds an experiment"):
        run(tmp_path, both[0])


def test_results_of_another_csv_stay(tmp_path, both):
    _, folder = run(tmp_path, both[1], "--report=False")
    run(tmp_path, both[0], "--report=False")  # the same, which has changed
    before = {path: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "other").mkdir()
    path = tmp_path / "other" / "theirs.csv"
    write_predictions(both[1], path)
    arguments = ["hparams/evaluate.yaml", f"--output_folder={folder}"]
    with pytest.raises(UserError, match=r"another CSV \(theirs.csv\)"):
        evaluate.main([*arguments, f"--predictions_csv={path}"])
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_rows_of_several_splits_are_not_mixed(tmp_path, both):
    other = make_table("other", seed=3, prefix="o")
    with pytest.raises(UserError, match="rows of one split"):
        run(tmp_path, pd.concat([both[0], other]))
    own = both[1].assign(split="valid", uid=both[1]["uid"] + "x")
    for split in ("valid", "train"):
        with pytest.raises(UserError, match=f"30 subjects are both in '{split}'"):
            run(tmp_path, pd.concat([own.assign(split=split), both[1]]))
        subjects = own["subject"].str.upper().str.replace("P", "P ")
        spelt = own.assign(split=split, subject=subjects)
        with pytest.raises(UserError, match=f"30 subjects are both in '{split}'"):
            run(tmp_path, pd.concat([spelt, both[1]]))


def test_a_csv_of_other_recordings_is_refused(tmp_path, both):
    uids = both[1]["uid"].unique()
    rows = [{"uid": uid, "subject": uid[:3]} for uid in uids]
    rows[3]["subject"] = "somebody"
    write_csv(tmp_path / "rows.csv", rows[1:])
    with pytest.raises(UserError) as error:
        run(tmp_path, both[0], f"--split_csv={tmp_path / 'rows.csv'}")
    assert f"uid '{uids[0]}' is not in it" in str(error.value)
    assert "is of subject 'somebody' there" in str(error.value)
    assert str(error.value).count("\n") == 2
