#!/usr/bin/env bash
# System packages (when missing) and .venv for building and testing. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(g++ cmake ninja-build ccache mold libprotozero-dev libgtest-dev nlohmann-json3-dev
          libflatbuffers-dev flatbuffers-compiler libfmt-dev zlib1g-dev libdeflate-dev
          python3-venv python3-dev)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing system packages: ${missing[*]}"
  as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq "${missing[@]}" >/dev/null
fi

[ -x .venv/bin/python ] || python3 -m venv .venv
python=.venv/bin/python
if ! $python -c 'import torch; assert torch.__version__.startswith("2.13.")' 2>/dev/null; then
  # First and alone: a range in another package would otherwise choose a build with CUDA.
  echo "installing torch 2.13.0 (CPU)"
  $python -m pip install -q torch==2.13.0
fi
echo "installing Python packages"
$python -m pip install -q -r scripts/requirements.txt
if ! $python -c 'import importlib.metadata as m; assert m.version("executorch") == "1.4.1"' 2>/dev/null; then
  # Alone: what it asks for besides is for its own exporters. Its runtime needs the packages above.
  echo "installing executorch 1.4.1, whose runtime runs .pte files"
  $python -m pip install -q --no-deps executorch==1.4.1
fi
