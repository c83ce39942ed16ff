"""Write a trained model to a folder that works without this recipe.

    python export.py --experiment_folder=DIR --output_folder=OUT
        [--audio_cache=DIR] [--gcs_project=NAME] [--trust_experiment=True]

The experiment is what train.py called output_folder, here or gs://bucket/…. OUT must
not be there yet, or be empty. It gets weights, labels, thresholds, calibration, the
model card and a README.md that says how to load it, with SpeechBrain or as model.onnx.
All of it is loaded again and compared with the experiment first: if anything differs,
nothing is left behind (status 1).
"""

from local.storage.first_look import look

look(__name__)  # before what loads PyTorch


from speechbrain.utils.run_opts import RunOptions

from local.inference.export.folder import check_output_folder, export
from local.storage.addresses import absolute, output_path
from local.training.experiment import open_experiment
from local.utils import cli
from local.utils.usage import Parser


def main(argv):
    """Open the experiment, export, check."""
    options = _parse(argv)
    output_folder = output_path(options.output_folder, "output_folder")
    address = absolute(options.experiment_folder, "experiment_folder")
    check_output_folder(output_folder, address)
    run_opts = RunOptions.from_dictionary({"device": "cpu"})
    experiment = open_experiment(vars(options), run_opts)
    export(experiment, output_folder)
    print(f"the model is in {output_folder}; its README.md says how to use it")


def _parse(argv):
    parser = Parser()
    parser.add_argument("--experiment_folder", required=True)
    parser.add_argument("--output_folder", required=True)
    parser.add_argument("--audio_cache", help="where copies of a bucket's objects go")
    parser.add_argument("--gcs_project")
    cli.add_trust_option(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main)
