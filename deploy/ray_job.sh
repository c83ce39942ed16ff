#!/bin/bash
# Submits an extraction to a Ray cluster, whose machines have the packages of
# requirements.lock and requirements-ray.txt, and the same folder or bucket.
#
#     deploy/ray_job.sh http://HEAD:8265 EXPERIMENT ROWS AUDIO_FOLDER OUTPUT.parquet
set -eu
address=$1
shift
ray job submit --address="$address" --working-dir=. -- \
    python extract_embeddings.py hparams/extract_embeddings.yaml --ray=auto \
    --experiment_folder="$1" --split_csv="$2" --data_folder="$3" --output_file="$4" \
    --embedding_type=pt "${@:5}"
