#!/bin/bash
# Runs the integration tests on a fresh database of a private PostgreSQL.
set -euo pipefail
work=$build/tests/work/integration
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
# A prepared transaction that a failed test left would keep the database.
end_prepared() {
	sql "SELECT format('ROLLBACK PREPARED %L;', gid) FROM pg_prepared_xacts" 2>/dev/null |
		psql -X -q -h "$pg/socket" -U tam -d tam >/dev/null 2>&1 || true
}
trap 'end_prepared; end_world' EXIT
make_world
export TAM_TEST_DATABASE="$db" TAM_TEST_MASTER_KEY=$work/keys/master.key TAM_TEST_WORK=$work
rm -rf "$work"/control-*
"$build/tests/integration/test_seal"
"$build/tests/integration/test_control"
"$build/tests/integration/test_device_store"
"$build/tests/integration/test_link"
"$build/tests/integration/test_selector"
# Five components, two manifests of each, of very different sizes.
export TAM_TEST_MANIFESTS="$work/manifests"
mkdir -p "$TAM_TEST_MANIFESTS"
for i in 0 1 2 3 4 5 6 7 8 9; do
	head -c $((1 + i * i * 60)) /dev/zero | tr '\0' "$i" >"$work/payload"
	"$tamctl" suit create --key "$work/keys/signer.pem" --vendor "$vendor" --class "$class_id" \
	    --component "vendor/$(printf 'abcde' | cut -c $((i / 2 + 1)))" --sequence $((i % 2 + 1)) \
	    --payload "$work/payload" --out "$TAM_TEST_MANIFESTS/m$i.suit"
done
"$tamfleet" keys --agents 20 >"$TAM_TEST_MANIFESTS/twenty.ndjson"
TAM_TEST_TOKEN=$(cat "$work/keys/token") "$build/tests/integration/test_explain"

export TAM_TEST_CERTIFICATES="$work/certificates"
"$top/tests/integration/certificates.sh" "$TAM_TEST_CERTIFICATES"
"$build/tests/integration/test_x509"
