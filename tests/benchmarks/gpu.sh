#!/bin/sh
# Measures everything that needs a GPU, in less than 8 minutes, with no network: one command, results as they come.
#
#   gpu.sh
#
# Each result is one line, and a line of JSON in $OUT/gpu.jsonl; what else the steps say is in $OUT/gpu.log. OUT is by
# default the folder gpu-out beside this file.
# The Python is $PYTHON; else the project's own environment, .venv, if it has torch; else python3. Unless it is the
# project's own, it needs the wheels that gpu-wheels.sh has collected, from $WHEELS (by default the folder gpu-wheels
# beside this file): they are unpacked into a temporary folder; nothing is installed and nothing is downloaded.
#
# Exit codes: 0 everything was measured, whether or not targets were met; 1 something failed; 3 there is no CUDA device,
# so that the same code ran on tiny shapes and nothing was measured.
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
wheels=${WHEELS:-"$here/gpu-wheels"}
OUT=${OUT:-"$here/gpu-out"}
mkdir -p "$OUT" && OUT=$(CDPATH='' cd -- "$OUT" && pwd) && cd "$root" || exit 1
results=$OUT/gpu.jsonl
log=$OUT/gpu.log
: >"$results" && : >"$log" || exit 1 # they are one run's

own=$root/.venv/bin/python
python=${PYTHON:-}
[ -n "$python" ] || { "$own" -c 'import torch' 2>/dev/null && python=$own; } || python=python3

site=$(mktemp -d) || exit 1
trap 'rm -rf "$site"' EXIT
trap 'exit 1' INT TERM
unpack() {
    ls "$wheels/$1"/*.whl >/dev/null 2>&1 || return 0
    "$python" -m pip --disable-pip-version-check install --quiet --no-index --no-deps --no-compile --no-cache-dir \
        --root-user-action ignore --target "$site/$1" "$wheels/$1"/*.whl
}
path=$root
if [ "$python" != "$own" ]; then
    unpack service || { echo "gpu.sh: the wheels in $wheels/service do not suit $python" >&2; exit 1; }
    path=$path:$site/service
fi
unpack anomalib || { echo "gpu.sh: the wheels in $wheels/anomalib do not suit $python" >&2; exit 1; }
export HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 ALFA_EDGE_MODELS="$site/models"
cuda=$(PYTHONPATH=$path "$python" -c 'import torch; print(torch.cuda.is_available())') || {
    echo "gpu.sh: $python has no torch" >&2
    exit 1
}
[ "$cuda" = True ] || export OMP_NUM_THREADS=1 # enough for tiny shapes, and no waiting for a second core

failed=
# step NAME SECONDS [FOLDER]: runs a step, whatever became of the one before; FOLDER goes before everything else.
step() {
    began=$(date +%s)
    PYTHONPATH=${3:+$3:}$path timeout --kill-after=5 "$2" "$python" -m tests.benchmarks.gpu "$1" --results "$results" \
        2>"$site/log"
    code=$?
    { echo "== $1: exit code $code"; cat "$site/log"; } >>"$log"
    [ "$code" -eq 0 ] || failed="$failed $1"
    if [ "$code" -ge 124 ]; then # it could not say so itself
        why="exit code $code after $(($(date +%s) - began)) s of at most $2"
        echo "$1 failed why=\"$why\""
        printf '{"step": "%s", "what": "failed", "why": "%s"}\n' "$1" "$why" >>"$results"
    fi
    [ "$code" -eq 0 ] || tail -n 15 "$site/log" >&2
}

# In the order of their worth; the limits are 460 s together.
all=$(date +%s)
step device 25
step tests 50
step parity 70
step speed 60
step anomalib 50 "$site/anomalib"
step bundled 30
step service 120
step memory 20
step profile 35
echo "took $(($(date +%s) - all)) s; results in $results"
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
[ "$cuda" != True ] || exit 0
echo "no CUDA device: nothing was measured, every step ran on tiny shapes; left out:"
sed -n 's/.*"what": "left out", "part": \("[^"]*"\), "why": \("[^"]*"\).*/    \1: \2/p' "$results"
exit 3
