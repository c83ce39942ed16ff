"""recipes/demo/places.py: where curves over time have their peaks."""

import shutil

import pandas as pd
import pytest
from conftest import synthesise, write_recording

from local.utils.errors import UserError
from recipes.demo import places

LABEL, HEADER = "low", "uid,start_s,end_s\n"


@pytest.fixture
def asked(shared_experiment, tmp_path, monkeypatch):
    """A corpus, the uids of what is found in it, and the options."""
    monkeypatch.setattr(places, "LABEL", LABEL)
    corpus, experiment = tmp_path / "corpus", tmp_path / "experiment"
    shutil.copytree(shared_experiment, experiment)
    said = pd.read_csv(experiment / "predictions.csv", dtype={"predicted": "Int8"})
    said["predicted"] = 1
    said.to_csv(experiment / "predictions.csv", index=False)
    uids = said.loc[(said["label"] == LABEL) & (said["target"] == 1), "uid"].tolist()
    for seed, uid in enumerate(uids):
        samples = synthesise(1, 0, 0, seed, duration_s=1.0)
        write_recording(corpus / "audio" / uid, samples)
    options = f"--corpus_folder={corpus}", f"--experiment_folder={experiment}"
    return corpus, uids, options


def test_every_curve_has_its_row(asked, capsys):
    corpus, uids, options = asked
    assert len(uids) > 2
    # of each but one: of middles 0.15, 0.25 … 0.85 s four are no more than 0.3 s away
    lines = [f"{uid},0,0.2\n" for uid in uids[1:]]
    (corpus / "breakdowns.csv").write_text(HEADER + "".join(lines))
    places.main(options)
    printed = capsys.readouterr().out
    n = len(uids)
    assert f"{n} positives, {n} found, {n - 1} with breakdowns." in printed
    table = printed.rpartition("\n\n")[2].splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[2:]]
    assert [row[0] for row in rows] == [
        *("windows of 0.3 s", "windows of 0.5 s", "windows of 1.0 s"),
        *("hidden by noise", "cut out", "attention"),
    ]
    assert {row[2] for row in rows} == {"0.50"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"breakdowns\.csv can't be read \(FileNotFoundError"),
        ("", r"breakdowns\.csv can't be read \(EmptyDataError"),
        ("uid,start_s\na,1\n", r"breakdowns\.csv can't be read \(KeyError"),
        (f"{HEADER}a,1,late\n", r"breakdowns\.csv can't be read \(ValueError"),
        (HEADER, "No recording is left to measure"),
    ],
)
def test_a_corpus_that_tells_no_places_is_told(asked, text, message):
    corpus, _, options = asked
    if text is not None:
        (corpus / "breakdowns.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        places.main(options)
