#!/bin/sh
# web.sh check|build|test: npm's script of that name in web/, with the packages of its lockfile.
#
# Only whoever changes the report's page needs npm: its bundle is committed. So where there is no
# npm, or its packages cannot be had, this says what is not checked here, and that is no failure,
# except for `build`, which has nothing else to do.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh
script=$1

without() {
    say "web: $*, so \`npm run $script\` of web/ is left out here"
    [ "$script" != build ] || exit 1
    exit 0
}

# npm notes there what it has installed; a newer lockfile asks for something else.
installed() { [ web/node_modules/.package-lock.json -nt web/package-lock.json ]; }

as_user sh -c 'command -v npm' >/dev/null || without "there is no npm"
if ! installed; then
    # esbuild's own install script only checks what was installed.
    as_user npm --prefix web ci --ignore-scripts --silent >&2 ||
        without "npm's packages cannot be had"
    as_user touch web/node_modules/.package-lock.json
fi
as_user npm --prefix web run --silent "$script"
