#!/usr/bin/env bash
# Create benchmarks/.env-threeml, the environment 3ML is measured in. Does nothing where it is up to date.
# Needs Python 3.11 (or PYTHON=/path/to/one) and a C compiler: astromodels and ultranest build extensions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

environment=.env-threeml
requirements=threeml_requirements.txt
installed=$environment/installed_requirements.txt

if cmp --silent "$requirements" "$installed"; then
    echo "benchmarks/$environment is up to date"
    exit 0
fi

"${PYTHON:-python3.11}" -m venv "$environment"
"$environment/bin/python" -m pip install --quiet --upgrade pip
"$environment/bin/python" -m pip install --quiet -r "$requirements"
"$environment/bin/python" threeml_quiet.py
cp "$requirements" "$installed"
echo "benchmarks/$environment is ready"
