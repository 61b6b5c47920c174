#!/bin/sh
# Install fairseq into an environment of its own: fairseq.sh FOLDER
#
# fairseq 0.12.2 is the last release, and asks for versions of hydra-core and omegaconf that pip
# since 24.1 refuses. It runs with the current ones, so it is installed without its dependencies;
# it needs a C++ compiler. PYTHON, PIP_FIND_LINKS and TORCH_BACKEND are those of setup.sh.
set -eu

venv=$1
torch=$(sed -n 's/^torch==//p' constraints.txt)

if "$venv/bin/python" -c 'import importlib.metadata as m; m.version("fairseq")' 2>/dev/null; then
  exit 0
fi
echo "fairseq: installing it into $venv, once; it is compiled, which takes a minute"
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
[ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install -q --disable-pip-version-check uv

# uv reads UV_FIND_LINKS but not pip's variable
links=
for place in ${PIP_FIND_LINKS:-}; do links="$links --find-links $place"; done

# shellcheck disable=SC2086  # $links is several words
install() { "$venv/bin/uv" pip install -q -p "$venv" $links "$@"; }

# as in setup.sh: a CPU wheel from the given places, else the build from PyTorch's own index
{ [ -z "${TORCH_BACKEND:-}" ] && install "torch==$torch+cpu" 2>/dev/null; } ||
  install --torch-backend "${TORCH_BACKEND:-cpu}" "torch==$torch"
install numpy "omegaconf>=2.3" "hydra-core>=1.3" cffi regex bitarray tqdm sacrebleu safetensors
# built apart from torch: beside it, it would compile parts for GPUs that translation does not use
install --no-deps "fairseq==0.12.2"
