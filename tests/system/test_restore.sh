#!/bin/bash
# A database restored from a backup: in it a revocation never was.  Nodes refuse
# it, whoever changes it meanwhile, until a person accepts it.
set -euo pipefail
work=$build/tests/work/test_restore
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
start_node 1 publish_every_s=1
draft_policy
cd "$work"
export TAMCTL_DATABASE=$db
status_of() { # CURL-ARGUMENT...: the status, the answer in answer.json
	curl -sS --cacert keys/tls.crt -o answer.json -w '%{http_code}' "$@"
}
change() { # ADMIN-PORT: with a foreign client
	status_of -X PUT -H "Authorization: Bearer $(cat keys/token)" -H 'Content-Type: application/json' \
	    --data "{\"selector\": \"class == \\\"none\\\"\", \"components\": [{\"manifest\": \"$draft_digest\"}]}" "https://localhost:$1/v1/policies/other"
}
post() { status_of -X POST -H 'Accept: application/teep+cbor' "https://localhost:$port/tam" 2>/dev/null || true; }

# The backup; then a revocation, and the head of the chain that has it.
stop_node 1
sql_admin 'DROP DATABASE IF EXISTS lost' 2>/dev/null
sql_admin 'DROP DATABASE IF EXISTS backup' 2>/dev/null
sql_admin 'CREATE DATABASE backup TEMPLATE tam'
start_node 1 publish_every_s=1
export TAMCTL_SERVER=localhost:$admin_1
revocation=$("$tamctl" -o json revocation create "component=$draft_component" reason=test | json_number id)
settle
sql "SELECT audit_seq FROM domain" >seq.txt
published() {
	[ "$(status_of "https://localhost:$port/published/default/audit-head")" = 200 ] && mv answer.json head.cose &&
		"$tamctl" audit verify --head @head.cose --key keys/tam-p256.pub >head.txt &&
		[ "$(cut -d: -f1 head.txt)" = "default $(cat seq.txt)" ]
}
try_for 30 published || die "the head was not published: $(cat head.txt)"

# The backup takes the place of the database under the running node.
sql_admin 'ALTER DATABASE tam ALLOW_CONNECTIONS false'
sql_admin "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'tam'"
renamed() { # after the last backend has ended
	sql_admin 'ALTER DATABASE tam RENAME TO lost'
}
try_for 30 renamed || die "the database is in use"
sql_admin 'ALTER DATABASE backup RENAME TO tam'
[ "$(sql "SELECT count(*) FROM revocation")" = 0 ] || die "the backup has revocation $revocation"
refuses() { [ "$(get "$1" /readyz)" = 'database was restored' ]; }
try_for 30 refuses "$admin_1" || die "a restored database was not noticed"
no_service() { [ "$(post)" = 503 ]; }
try_for 30 no_service || die "a restored database is served"
grep -q 'event=database_restored.*served_event=' node1/log || die "the log does not say what was served"

# Nobody changes it through the refused node.
[ "$(change "$admin_1")" = 503 ] || die "the refused node took a change: $(cat answer.json)"
grep -q '"code": *"not_admitted"' answer.json || die "no reason: $(cat answer.json)"
grep -q 'database was restored' answer.json || die "no reason: $(cat answer.json)"
[ "$(status_of -H "Authorization: Bearer $(cat keys/token)" "https://localhost:$admin_1/v1/policies")" = 200 ] ||
	die "nor may anybody look: $(cat answer.json)"
# What raises the epoch past the old one all the same does not lift it.
sql "SELECT epoch_raise(1) FROM generate_series(1, 10)" >/dev/null
stop_node 1
run_node 1
try_for 30 refuses "$admin_1" || die "the refusal did not outlive a restart and ten epochs"
not_listening() { [ "$(post)" = 000 ]; } # a node listens from its first lease on
not_listening || die "served after a restart"

# Nor does a node that remembers nothing serve it.
forgets() { get "$admin_2" /readyz | grep -q '^no memory of earlier epochs'; }
port_1=$port
port=$(free_port)
run_node 2
try_for 30 forgets || die "a node without memory: $(get "$admin_2" /readyz)"
not_listening || die "a node without memory serves"
[ "$(change "$admin_2")" = 503 ] || die "a node without memory took a change"

# Accepted, with the name of what was lost; both nodes serve.
for bad in '--head @head.cose' '--key keys/tam-p256.pub' '--head head.cose --key keys/tam-p256.pub' '--state-dir node1' more; do
	status=0
	# shellcheck disable=SC2086  # fields
	"$tamctl" db accept-restore $bad >/dev/null 2>&1 || status=$?
	[ $status = 2 ] || die "accept-restore $bad: $status"
done
if "$tamctl" db accept-restore --head @head.cose --key keys/tam-ed25519.pub >/dev/null 2>&1; then die "another key's head"; fi
refuses "$admin_1" || die "accepted with a head that is not signed"
before=$(sql "SELECT incarnation FROM domain")
"$tamctl" db accept-restore --head @head.cose --key keys/tam-p256.pub >accepted.txt || die "accept-restore: $(cat accepted.txt)"
grep -q "^default: events [0-9]* to $(cat seq.txt) are lost" accepted.txt || die "what was lost: $(cat accepted.txt)"
[ "$(sql "SELECT incarnation FROM domain")" != "$before" ] || die "the same incarnation"
wait_ready "$admin_1" || die "node 1 is not ready after accept-restore: $(get "$admin_1" /readyz)"
wait_ready "$admin_2" || die "node 2 is not ready after accept-restore: $(get "$admin_2" /readyz)"
[ "$(change "$admin_1")" = 200 ] || [ "$(change "$admin_2")" = 200 ] || die "no change after accept-restore: $(cat answer.json)"
"$tamctl" audit verify >/dev/null || die "the chain after accept-restore"

# A third one begins beside them, with no permission left.
[ "$(sql "SELECT count(*) FROM admission")" = 0 ] || die "any node may begin"
port=$port_1
start_node 3
stop_node 3
stop_node 2
stop_node 1
