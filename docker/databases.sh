#!/bin/sh
# PostgreSQL's image runs this once, on an empty volume: a database each for MLflow and Prefect.
set -eu
for name in mlflow prefect; do
    createdb --username "$POSTGRES_USER" "$name"
done
