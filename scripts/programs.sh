# shellcheck shell=bash
# The programs, and how cargo builds them. scripts/run, install, bench and chaos source this file with `root` and `die`
# set.

programs=(producer stream-processor aggregator trainer reporter topology)

# Flags from the environment would override those of .cargo/config.toml, through which the trainer finds libxgboost.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}

# Prints the folder that cargo puts the programs of a profile into. An unknown profile ends the script.
program_folder() {
    case $1 in
    release | dist) printf '%s' "$CARGO_TARGET_DIR/$1" ;;
    dev) printf '%s' "$CARGO_TARGET_DIR/debug" ;;
    *) die 2 "--profile is release, dist or dev, not $1" ;;
    esac
}

# Sets `build_command`, which builds the programs with a profile, and more packages if they are named.
set_build_command() {
    local name profile=$1
    shift
    build_command=(cargo build --profile "$profile" --locked --bins)
    for name in "${programs[@]}" "$@"; do build_command+=(--package "$name"); done
}

# Processor minutes of a first build, measured with a warm registry cache.
BUILD_MINUTES=16

# Says how long the first build with a profile takes on this machine.
build_time() {
    local cores minutes
    cores=$(nproc)
    minutes=$(((BUILD_MINUTES + cores - 1) / cores))
    [ "$1" != dist ] || minutes=$((minutes * 2))
    printf 'about %d minutes on %d cores' "$minutes" "$cores"
}
