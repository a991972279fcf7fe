# Sourced by demo.sh and test.sh in the repository's root.  POSIX shell.
#
# setup_environment EXTRAS: make the virtual environment .venv with this project and its EXTRAS (a group of optional
# dependencies in pyproject.toml), and put its commands first on the path.  Quick when there is nothing to do.

# The version that the tests run with.  Any other that pyproject.toml allows may be put into .venv by hand beforehand.
TORCH=torch==2.13.0

# What Qt, which draws the module's panel offscreen in the tests, needs beyond a bare Debian or Ubuntu.
QT_NEEDS="libegl1 libfontconfig1 libgl1 libglib2.0-0 libgssapi-krb5-2 libxkbcommon0"

# The MRML and VTK of the stable 3D Slicer, with which some tests are repeated; pyproject.toml asks for newer ones.
STABLE_SLICER="slicer-core==5.12.4.* vtk==9.6.0"

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

find_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
            return
        fi
    done
    fail "Python 3.10 or newer is needed, and none was found. Install it and run this again."
}

qt_works() {
    QT_QPA_PLATFORM=offscreen python -c 'from PySide6.QtWidgets import QApplication; QApplication([])'
}

provide_qt() {
    if qt_works >/dev/null 2>&1; then
        return
    fi
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing what Qt needs: $QT_NEEDS"
        apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $QT_NEEDS >/dev/null || :
    fi
    qt_works || fail "Qt does not start; the reason stands above. On Debian and Ubuntu: sudo apt install $QT_NEEDS"
}

provide_stable_slicer() {
    if [ -d .venv/slicer-stable ] || [ "$(uname -m)" = aarch64 ]; then
        return  # for that processor there are none
    fi
    echo "Installing the MRML of the stable 3D Slicer (0.2 GB) ..."
    python -m pip install --quiet --no-deps --target .venv/slicer-stable $STABLE_SLICER ||
        fail "Installing failed; the reason stands above. With the network back, run this again."
}

# The browser that the tests open pages in; without one they leave these out.
provide_browser() {
    for browser in chromium-headless-shell chromium chromium-browser google-chrome; do
        if command -v "$browser" >/dev/null; then
            return
        fi
    done
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing Chromium, in which pages are tested"
        apt-get update -qq || :
        DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium-headless-shell >/dev/null ||
            echo "It could not be installed; tests of pages are left out."
    fi
}

setup_environment() {
    installed=".venv/installed-$1.toml"  # a copy of the pyproject.toml that was last installed
    if [ ! -x .venv/bin/python ]; then
        find_python
        "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
            fail "This Python cannot make virtual environments. On Debian and Ubuntu: sudo apt install python3-venv"
        echo "Setting up .venv with $("$python" --version). This takes a few minutes, once."
        "$python" -m venv .venv || { rm -rf .venv; fail "The virtual environment .venv could not be made."; }
    fi
    PATH=$PWD/.venv/bin:$PATH
    if cmp -s pyproject.toml "$installed" || cmp -s pyproject.toml .venv/installed-test.toml; then
        return  # "test" includes all others
    fi
    echo "Installing into .venv ..."
    python -m pip install --quiet --upgrade pip &&
        { python -c 'import torch' >/dev/null 2>&1 || python -m pip install --quiet "$TORCH"; } &&
        PYTHONWARNINGS=ignore python -m pip install --quiet --editable ".[$1]" ||
        fail "Installing failed; the reason stands above. With the network back, run this again: it goes on from there."
    if [ "$1" = test ]; then
        provide_qt
        provide_browser
    fi
    cp pyproject.toml "$installed"
}
