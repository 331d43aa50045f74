# Sourced by the other scripts, from the top of the checkout: set_up [EXTRA]
#
# Makes .venv with this checkout installed in it (and an extra of pyproject.toml, such as dev).
# Needs Python 3.11 or newer and the package index. With the extra dev it also installs PostgreSQL
# and MariaDB where it can: as root, with apt-get. The tests start servers of their own.
#
# PYTHON=/path/to/python chooses the interpreter.

set_up() {
    extra=${1-}
    wanted="$(cat pyproject.toml scripts/_setup.sh | cksum) $PWD"
    for ready in .venv/.ready-dev ".venv/.ready-${extra:-run}"; do
        if [ -x .venv/bin/python ] && [ "$(cat "$ready" 2>/dev/null)" = "$wanted" ]; then
            return
        fi
    done

    echo "Setting up .venv (first time, or pyproject.toml has changed) ..."
    output=$(_set_up "$extra" 2>&1) || {
        echo "$output" >&2
        exit 1
    }
    [ "$extra" != dev ] || _install_servers
    printf '%s\n' "$wanted" >"$ready"
}

_install_servers() {
    if (
        PATH=$(printf '%s:' /usr/lib/postgresql/*/bin)/usr/sbin:$PATH
        command -v postgres && command -v mariadbd
    ) >/dev/null; then
        return
    fi
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "Installing PostgreSQL and MariaDB ..."
        output=$(_apt_get_servers 2>&1) && return
        echo "$output" >&2
    fi
    echo "The tests that need PostgreSQL or MariaDB will be left out: they are not installed." >&2
}

# What has 101 for an answer keeps Debian from starting a service that it installs.
_apt_get_servers() (
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" || return
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update && apt-get install -y --no-install-recommends postgresql mariadb-server
)

_set_up() {
    # A set-up that was interrupted may have left half a package behind.
    if [ -e .venv/.unfinished ] || ! .venv/bin/python -m pip --version; then
        _make_venv || return
    fi
    : >.venv/.unfinished &&
        .venv/bin/python -m pip install --disable-pip-version-check -e ".${1:+[$1]}" &&
        rm .venv/.unfinished
}

_make_venv() {
    python=$(_find_python) || return
    "$python" -m venv --clear .venv && return
    # Debian and its relatives ship Python without ensurepip.
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        apt-get update && apt-get install -y python3-venv && "$python" -m venv --clear .venv
    else
        echo "$python cannot make a virtual environment; on Debian: apt-get install python3-venv"
        return 1
    fi
}

_find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 or newer is needed; none of these is: ${PYTHON:-python3, python3.X, python}" >&2
    return 1
}
