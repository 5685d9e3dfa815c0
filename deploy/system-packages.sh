#!/bin/sh
# Installs what pip cannot: the Debian and Ubuntu packages that the demo or the tests need.
#
#   system-packages.sh demo|test
#
# Silent where nothing is missing. As root it installs; as a user it says what to run. On a system without dpkg it
# looks for the programs themselves. PYTHON names the interpreter, if it is not to be looked for.
set -eu

pythons=${PYTHON:-"python3.13 python3.12 python3.11 python3.10 python3"}

# Some interpreter of a supported version can make a virtual environment. Importing is the only proof: Debian splits
# ensurepip off, and a shim can exist for a version that does not.
makes_venvs() {
    for python in $pythons; do
        if "$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' \
            >/dev/null 2>&1; then
            return 0
        fi
    done
    return 1
}

installed() {
    [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Newer releases call some libraries NAMEt64 (64-bit time_t).
library() {
    if installed "$1" || installed "$1t64"; then
        return 0
    fi
    if apt-cache show "$1t64" >/dev/null 2>&1; then
        missing="$missing $1t64"
    else
        missing="$missing $1"
    fi
}

package() {
    installed "$1" || missing="$missing $1"
}

# Any browser of the Chromium family will do.
browser() {
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null 2>&1; then
            return 0
        fi
    done
    missing="$missing chromium"
}

program() {
    PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" >/dev/null 2>&1 || missing="$missing $1"
}

case "${1:-}" in
demo | test) group=$1 ;;
*)
    echo "usage: $0 demo|test" >&2
    exit 2
    ;;
esac
missing=

if ! command -v dpkg-query >/dev/null 2>&1; then
    makes_venvs || missing=" python-3.10-to-3.13-with-venv"
    if [ "$group" = test ]; then
        program mosquitto
        program mosquitto_sub
        program openssl
        program ffmpeg
        program arv-fake-gv-camera-0.8
        browser
    fi
    [ -z "$missing" ] || {
        echo "missing, to be installed with this system's own package manager:$missing" >&2
        exit 1
    }
    exit 0
fi

makes_venvs || package python3-venv
package libgl1
library libglib2.0-0
if [ "$group" = test ]; then
    package mosquitto
    package mosquitto-clients
    package openssl
    package systemd # for systemd-analyze
    package ffmpeg
    library libaravis-0.8-0
    package aravis-tools # a GigE Vision camera on the loopback interface
    package gir1.2-gst-rtsp-server-1.0
    package python3-gi
    package gstreamer1.0-plugins-base
    package gstreamer1.0-plugins-good
    package gstreamer1.0-plugins-ugly
    browser
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "missing packages; run: sudo apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "installing system packages:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # a list of words
apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 $missing >/dev/null

# Debian starts a broker as soon as it is installed. The tests start their own; a machine that had none keeps none.
case "$missing " in
*" mosquitto "*)
    if [ -d /run/systemd/system ]; then
        systemctl disable --quiet --now mosquitto.service
    fi
    ;;
esac
