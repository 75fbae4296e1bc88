# shellcheck shell=bash
# The NATS users and their secrets. scripts/setup, scripts/install and deploy/docker/make-secrets source this file.

# Users with a password in deploy/nats/users.conf and guests.conf.
# shellcheck disable=SC2034
NATS_USERS=(admin producer stream-processor aggregator trainer reporter reader)

# Prints the name of the variable that holds a user's password.
password_variable() {
    local name=${1^^}
    printf 'CANDLEWIRE_PASSWORD_%s' "${name//-/_}"
}

# Prints a new secret.
random_secret() { printf 'cw%s' "$(od -An -N 24 -tx1 /dev/urandom | tr -d ' \n')"; }

# nats-server parses a variable's value as part of its configuration: 12345678 would be a number, and the server would end.
SECRET_FORM='a letter, then letters, digits, - or _, 16 characters or more'
has_secret_form() {
    local LC_ALL=C
    [[ $1 =~ ^[A-Za-z][A-Za-z0-9_-]{15,}$ ]]
}

# Fails, with the reason, when other users can write a settings file: scripts source it, and its lines decide where passwords
# are sent. The programs apply the same check to .env.
check_settings_file() {
    local file=$1 owner mode
    [ -e "$file" ] || return 0
    owner=$(stat -L -c %u "$file") mode=$(stat -L -c %a "$file")
    if [ "$owner" -ne 0 ] && [ "$owner" -ne "$EUID" ]; then
        printf '%s: %s belongs to user %d, not to you (%d) or root: move it away, or check its lines and chown it\n' \
            "${0##*/}" "$file" "$owner" "$EUID" >&2
        return 1
    fi
    if ((8#$mode & 8#022)); then
        printf '%s: others can write %s (mode %s): check its lines, then chmod go-w it, or move it away\n' \
            "${0##*/}" "$file" "$mode" >&2
        return 1
    fi
}

# Prints which of these files hold no valid secret, and fails if there is one. Missing and empty files can still be made.
check_secrets() {
    local file code=0
    for file in "$@"; do
        if [ ! -s "$file" ] || has_secret_form "$(cat "$file")"; then continue; fi
        printf '%s: %s holds no secret that nats-server accepts: write another one into it (%s), or remove it, and a new one is made\n' \
            "${0##*/}" "$file" "$SECRET_FORM" >&2
        code=1
    done
    return "$code"
}
