#!/bin/bash
# Runs the integration tests on a fresh database of a private PostgreSQL.
set -euo pipefail
work=$build/tests/work/integration
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT
make_world
export TAM_TEST_DATABASE="$db" TAM_TEST_MASTER_KEY=$work/keys/master.key TAM_TEST_WORK=$work
rm -rf "$work"/control-*
"$build/tests/integration/test_control"
"$build/tests/integration/test_device_store"
"$build/tests/integration/test_selector"
