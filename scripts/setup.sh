#!/bin/sh
# Make a virtual environment with the project in it: setup.sh FOLDER [EXTRA]
#
# PYTHON          the interpreter to use (python3)
# PIP_FIND_LINKS  folders or pages with wheels to take first
# TORCH_BACKEND   which build of torch: cpu (the default), cu128, auto, ... as uv knows them
# GPU             1 for FAISS with CUDA 12 and, unless TORCH_BACKEND says otherwise, torch for the
#                 driver that is there; into a folder without them, never over one for the CPU
set -eu

venv=$1
extra=${2:-}
python=${PYTHON:-python3}
if [ -n "${GPU:-}" ]; then TORCH_BACKEND=${TORCH_BACKEND:-auto}; fi
torch=$(sed -n 's/^torch==//p' constraints.txt)

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
  echo "bitext needs Python 3.10 or newer; choose one with: make PYTHON=python3.12 ..." >&2
  exit 1
}
echo "setup: installing bitext${extra:+ and its $extra tools} into $venv, once"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
[ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install -q --disable-pip-version-check uv

# uv reads UV_FIND_LINKS but not pip's variable
links=
for place in ${PIP_FIND_LINKS:-}; do links="$links --find-links $place"; done

# shellcheck disable=SC2086  # $links is several words
install() { "$venv/bin/uv" pip install -q -p "$venv" $links "$@"; }

installed_torch() {
  "$venv/bin/python" -c 'from importlib.metadata import version; print(version("torch"))' \
    2>/dev/null || true
}

# PyPI's torch for Linux brings gigabytes of CUDA. So: a CPU wheel from the given places, else the
# build from PyTorch's own index, else whatever PyPI has. A torch of the right version stays.
case $(installed_torch) in
  "$torch" | "$torch"+*) ;;
  *)
    { [ -z "${TORCH_BACKEND:-}" ] && install "torch==$torch+cpu" 2>/dev/null; } ||
      install --torch-backend "${TORCH_BACKEND:-cpu}" "torch==$torch" ||
      {
        echo "setup: PyTorch's index cannot be used; taking PyPI's build, which may be large" >&2
        install "torch==$torch"
      }
    ;;
esac

if [ -n "${GPU:-}" ]; then
  # Both wheels of FAISS own the folder faiss/; the overrides keep the other one out.
  install -c constraints.txt --override scripts/gpu-overrides.txt -e ".${extra:+[$extra]}" \
    "faiss-gpu>=1.15,<2"
else
  install -c constraints.txt -e ".${extra:+[$extra]}"
fi
