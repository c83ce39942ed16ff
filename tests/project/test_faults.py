"""One fault at every stage; `make test-faults` has all of them at all moments."""

import dataclasses

import pytest

from tests.faults.stages import STAGES, Place

pytestmark = pytest.mark.unmeasured

FAST = {"evaluation": ("--report=False",)}


@pytest.fixture(scope="module")
def place(shared_corpus, shared_experiment, tmp_path_factory):
    """Makes the place of a stage, or gives it again."""
    places = {}

    def make(stage):
        if stage not in places:
            folder = tmp_path_factory.mktemp(stage)
            # drawing takes longer than all else: `make test-faults` has the figures
            command = (*STAGES[stage].command, *FAST.get(stage, ()))
            quick = dataclasses.replace(STAGES[stage], command=command)
            places[stage] = Place(folder, quick, shared_corpus, shared_experiment)
        return places[stage]

    return make


@pytest.mark.parametrize(
    ("stage", "fault", "share"),
    [
        ("training", "kill", 0.1),  # preparation
        ("training", "kill", 0.5),  # a checkpoint
        ("training", "full", 0.45),
        ("training", "gone", 0.6),
        ("evaluation", "kill", 0.9),
        ("extraction", "kill", 0.5),
        ("withdrawal", "kill", 0.65),  # reports are moved
        ("withdrawal", "kill", 0.95),  # one of two is all gone
        ("withdrawal", "full", 0.2),
        # its model.onnx takes a minute; test_export.py has failing exports
        pytest.param("export", "kill", 0.7, marks=pytest.mark.repeats),
    ],
)
def test_nothing_is_lost(place, stage, fault, share):
    there = place(stage)
    there.disturb(fault, max(1, round(share * there.n_changes)))
    there.check_end()
