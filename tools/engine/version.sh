# Which engine this project is built with, where it is kept, and which versions are supported. Sourced after tools/lib.sh.
# shellcheck shell=sh

# The engine's version as pinned in go.mod, for example v3.258.0.
pinned_version() {
    sed -n 's#.*github.com/pulumi/pulumi/pkg/v3 \(v[0-9.]*\).*#\1#p' "$root/tools/engine/go.mod"
}

# Where an engine is built: in this user's cache, unless CLOUDPC_ENGINES names a folder.
engines=${CLOUDPC_ENGINES:-$cache/engine}
# Where one lies for all users of a machine: docs/engine.md.
shared_engines="/usr/local/share/cloudpc/engine"

# The folder of the engine that is built, here or for all users; where there is none, the one that it is built in.
built_folder() {
    version=$(pinned_version)
    for folder in "$engines" "$shared_engines"; do
        if [ -x "$folder/$version/bin/pulumi" ]; then
            printf '%s\n' "$folder/$version/bin"
            return
        fi
    done
    printf '%s\n' "$engines/$version/bin"
}

# pinned_sum ARCHIVE: the SHA-256 that this project pins for it; nothing where it pins none.
pinned_sum() {
    sed -n "s/^\([0-9a-f]\{64\}\) [ *]$1\$/\1/p" "$root/tools/engine/release.sums"
}

# supported VERSION: whether Pulumi.yaml's ">=OLDEST <NEXT" admits it, as the engine itself will ask.
supported() {
    range=$(sed -n 's/^requiredPulumiVersion: *"\(.*\)"/\1/p' "$project/Pulumi.yaml")
    oldest=${range#>=}
    oldest=${oldest%% *}
    next=${range#*<}
    [ -n "$1" ] && at_least "$oldest" "${1#v}" && ! at_least "$next" "${1#v}"
}
