#!/bin/sh
# Collects the wheels that `gpu.sh` takes along to a machine with a GPU and no network.
#
#   gpu-wheels.sh [--python 3.12] [FOLDER]
#
# That machine has Python 3.12 on x86-64 Linux with torch, torchvision, OpenCV, numpy and Pillow; everything else that
# the project needs comes along. FOLDER (by default tests/benchmarks/gpu-wheels) gets two parts, which are made anew:
#
#   service     what pyproject.toml asks for, the demo's broker, and pytest
#   anomalib    anomalib 2.7.0 and the last open_clip that it is right with, to be put before the other one
#
# open_clip and anomalib ask for torch, so they come without what they need; what they need is in `service`.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)

version=3.12
if [ "${1:-}" = --python ]; then
    version=$2
    shift 2
fi
folder=${1:-"$here/gpu-wheels"}
python=${PYTHON:-"$root/.venv/bin/python"}
[ -x "$python" ] || python=$(command -v python3)
most_mib=30 # together with the repository far below what may be carried

# The project's own needs but for what is there: the lines of pyproject.toml, without those that torch brings or needs.
needs=$("$python" - "$root/pyproject.toml" <<'END'
import re
import sys

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib
THERE = {"torch", "numpy", "pillow", "opencv-python", "open_clip_torch", "tomli"}
with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
extras = project["optional-dependencies"]
tests = [one for one in extras["dev"] if re.match(r"pytest(-timeout)?>", one)]
for need in (*project["dependencies"], *extras["demo"], *tests):
    if re.match(r"[\w-]+", need)[0] not in THERE:
        print(need)
END
)
clip=$(sed -n 's/^ *"\(open_clip_torch[^"]*\)",$/\1/p' "$root/pyproject.toml" | head -n 1)

download() {
    "$python" -m pip --disable-pip-version-check download --quiet --only-binary=:all: \
        --implementation cp --python-version "$version" --abi "cp$(echo "$version" | tr -d .)" --abi abi3 --abi none \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 \
        --platform manylinux2014_x86_64 --platform manylinux_2_12_x86_64 --platform manylinux_2_5_x86_64 \
        --platform manylinux1_x86_64 --dest "$@"
}

rm -rf "$folder/service" "$folder/anomalib"
mkdir -p "$folder/service" "$folder/anomalib"
# What open_clip imports beside torch comes with what it needs, none of which is torch.
# shellcheck disable=SC2086  # a list of requirements, none with a blank in it
download "$folder/service" $needs ftfy regex tqdm huggingface-hub safetensors
download "$folder/service" --no-deps "$clip"
download "$folder/anomalib" --no-deps 'anomalib==2.7.0' 'open_clip_torch>=2.23,<2.26.1'
# Not used without a network: an installer, and a faster way to download.
rm -f "$folder"/service/pip-*.whl "$folder"/service/hf_xet-*.whl

for part in service anomalib; do
    echo "$part: $(find "$folder/$part" -name '*.whl' | wc -l) wheels, $(du -k --apparent-size -s "$folder/$part" | cut -f 1) KiB"
done
size_mib=$(du -m --apparent-size -s "$folder" | cut -f 1)
echo "$folder: $size_mib MiB for Python $version on x86-64"
[ "$size_mib" -le "$most_mib" ] || {
    echo "gpu-wheels.sh: $size_mib MiB are more than $most_mib; a large package has come in: find $folder -size +4M" >&2
    exit 1
}
