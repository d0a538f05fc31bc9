# Which engine this project is built with, and which it supports. Sourced after tools/lib.sh.
# shellcheck shell=sh

# The engine's version as pinned in go.mod, for example v3.258.0.
pinned_version() {
    sed -n 's#.*github.com/pulumi/pulumi/pkg/v3 \(v[0-9.]*\).*#\1#p' "$root/tools/engine/go.mod"
}

built_folder() {
    printf '%s\n' "$cache/engine/$(pinned_version)/bin"
}

# supported VERSION: whether Pulumi.yaml's ">=OLDEST <NEXT" admits it, as the engine itself will ask.
supported() {
    range=$(sed -n 's/^requiredPulumiVersion: *"\(.*\)"/\1/p' "$root/Pulumi.yaml")
    oldest=${range#>=}
    oldest=${oldest%% *}
    next=${range#*<}
    [ -n "$1" ] && at_least "$oldest" "${1#v}" && ! at_least "$next" "${1#v}"
}
