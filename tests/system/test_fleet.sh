#!/bin/bash
# A fleet on two nodes: compliance, a node that stops under load, a revocation.
set -euo pipefail
work=$build/tests/work/test_fleet
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

agents=${TAM_TEST_FLEET:-200}
make_world
start_node 1
start_node 2
draft_policy
codec=$(make_component vendor/codec 1 'codec, version 1')
put_policy base "$draft_digest" "$codec"
enrol "$agents" --keys mix

fleet_exec --agents "$agents" --rounds 0 --interval 1 --http mix --concurrency 64 --tries 10 -o json \
    --expect $draft_component --absent vendor/codec >"$work/fleet.json" 2>"$work/fleet.err" &
fleet_pid=$!
compliant() { [ "$("$tamctl" -o json fleet status | json_number up_to_date)" = "$agents" ]; }
try_for 120 compliant || die "not compliant: $("$tamctl" -o json fleet status) $(tail -n 2 "$work/fleet.err")"

# The token key grows old: another is made, every node learns it before any
# mints with it, and no token is refused.
sql "UPDATE token_key SET mint_from_us = mint_from_us - 2 * 86400 * 1000000::bigint" >/dev/null
two_keys() { [ "$(sql 'SELECT count(*) FROM token_key')" = 2 ]; }
try_for 60 two_keys || die "no second token key"
# Bytes of the opener before the token: its first one names the key.
minted_by() { # KEY-ID
	curl -sS --cacert "$work/keys/tls.crt" -X POST -H 'Accept: */*' "https://localhost:$port/tam" |
		od -An -tx1 -v | tr -d ' \n' | grep -c "58401${1}12"
}
try_for 60 minted_by 1 || die "the new token key does not mint"
for a in $admin_1 $admin_2; do
	if [[ $(get "$a" /metrics) == *'reason="token_forged"'* ]]; then die "a token was refused"; fi
done

# One of two nodes stops under load: nobody notices.
export TAMCTL_SERVER=localhost:$admin_2
stop_node 1
[ "$(metric "$admin_2" tam_connections)" -gt 0 ] || die "nobody moved to node 2"

revocation=$("$tamctl" -o json revocation create component=vendor/codec reason=test | json_number id)
verified() {
	"$tamctl" -o json revocation status "$revocation" >"$work/revocation.json"
	[ "$(json_number verified <"$work/revocation.json")" = "$agents" ] &&
		[ "$(json_number unconfirmed <"$work/revocation.json")" = 0 ]
}
try_for 120 verified || die "not verified: $(cat "$work/revocation.json")"
for n in affected offered acknowledged; do
	[ "$(json_number $n <"$work/revocation.json")" = "$agents" ] || die "$n: $(cat "$work/revocation.json")"
done
start_node 1
kill -TERM $fleet_pid
wait $fleet_pid || { cat "$work/fleet.json"; tail -n 4 "$work/fleet.err" >&2; die "the fleet saw something wrong"; }

# The simulator's own count of installed Updates is the database's.
updates=$(tr -d '\n' <"$work/fleet.json" | sed 's/.*"updates": \([0-9]*\).*/\1/')
[ "$(sql "SELECT count(*) FROM outstanding_update WHERE success")" = "$updates" ] || die "Updates do not agree: $updates"
# What is revoked is not uploaded again.
if "$tamctl" manifest upload "$work/vendor-codec.suit" >/dev/null 2>"$work/err"; then die "a revoked manifest was accepted"; fi
grep -q suit_revoked "$work/err" || die "$(cat "$work/err")"

# An open loop keeps its plan: 50 sessions a second for 2 seconds.
fleet --agents 50 --rate 50 --duration 2 --rounds 0 -o json >"$work/open.json" 2>/dev/null || die "open loop: $(cat "$work/open.json")"
grep -q '"loop": "open"' "$work/open.json" || die "not an open loop"
opened=$(json_number sessions <"$work/open.json")
[ "$opened" -ge 10 ] && [ "$opened" -le 105 ] || die "an open loop of 100 sessions had $opened"

# Deprecated algorithm numbers are answered in kind (P4), and the draft's own
# opener, a COSE_Sign with a signature per suite, is understood.
fleet --agents 20 --deprecated-algs >"$work/out" 2>&1 || die "deprecated algorithms: $(cat "$work/out")"
"$tamctl" wire-profile put draft opener=sign >/dev/null
"$tamctl" wire-profile put old opener=sign1-ed25519 algorithms=deprecated numbering=legacy kid=none >/dev/null
settle
for uri in draft=final old=legacy; do
	"$tamfleet" run --server "localhost:$port" --ca "$work/keys/tls.crt" --agents 20 \
	    --tam-key "$work/keys/tam-ed25519.pub" --tam-key "$work/keys/tam-p256.pub" --signer "$work/keys/signer.pub" \
	    --uri "/tam/default/$uri" >"$work/out" 2>&1 || die "wire profile $uri: $(cat "$work/out")"
done

# How a run went badly: by its exit status, and with the cause in the summary.
ends() { # STATUS OUTCOME CAUSE tamfleet run options
	local status=0 want=$1 outcome=$2 cause=$3
	shift 3
	fleet "$@" -o json >"$work/bad.json" 2>"$work/bad.err" || status=$?
	[ $status = "$want" ] || die "$outcome: status $status, not $want: $(cat "$work/bad.json" "$work/bad.err")"
	grep -q "\"$outcome\": [1-9]" "$work/bad.json" || die "not $outcome: $(cat "$work/bad.json")"
	grep -q "\"causes\": {.*$cause" "$work/bad.json" || die "$outcome without its cause: $(cat "$work/bad.json")"
	grep -q '"good": false' "$work/bad.json" || die "$outcome is good"
}
ends 3 dropped '' --agents 4 --seed nobody
fleet --agents 4 --seed nobody --outcome dropped >/dev/null 2>&1 || die "what was wanted is not good"
ends 4 no_connection 'refused' --agents 2 --server "localhost:$(free_port)"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -keyout "$work/other.key" -out "$work/other.crt" \
    -subj /CN=other 2>/dev/null
ends 4 no_tls 'TLS: .*certificate' --agents 2 --ca "$work/other.crt"
# A server that takes everything and answers nothing, and one that does not even
# take a handshake, hold nobody for ever.
silent=$(free_port)
rm -f "$work/never" && mkfifo "$work/never"
openssl s_server -quiet -accept "$silent" -cert "$work/keys/tls.crt" -key "$work/keys/tls.key" >/dev/null 2>&1 <>"$work/never" &
server=$!
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$silent"); }
try_for 10 listens || die "no silent server"
ends 4 no_answer 'in time' --agents 1 --http 1 --server "localhost:$silent" --timeout 1 --tries 1
kill -STOP $server
ends 4 no_answer 'in time' --agents 1 --http 1 --server "localhost:$silent" --timeout 1 --tries 1
kill -KILL $server
# A manifest for other devices: both ids are told.
enrol 4 --seed mismatch --prefix mismatch
ends 1 manifest_failed "class-id: the manifest is for $class_id, the device is 00000000000000000000000000000000" \
    --agents 4 --seed mismatch --class-id 00000000000000000000000000000000

for n in 1 2; do
	eval "a=\$admin_$n"
	# shellcheck disable=SC2154
	[ "$(metric "$a" tam_sessions)" = 0 ] || die "sessions are left on node $n"
done
stop_node 1
stop_node 2
[ "$(sql "SELECT count(*) FROM node_lease")" = 0 ] || die "a lease was left"
