#!/bin/bash
# The TAM's keys in a token: SoftHSM, in the node's own process and in one
# beside it, where it can be slow, stopped, killed and come back.
set -euo pipefail
work=$build/tests/work/test_hsm
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
end_all() {
	[ -z "${hsm:-}" ] || kill -KILL -- "-$hsm" 2>/dev/null || true
	end_world
}
trap end_all EXIT

make_world
cd "$work"
rm -rf tokens ./*.pem
mkdir tokens
printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' "$work" >softhsm2.conf
softhsm() { SOFTHSM2_CONF=$work/softhsm2.conf softhsm2-util "$@" >>softhsm.out 2>&1 || die "softhsm2-util: $(tail -n 3 softhsm.out)"; }
softhsm --init-token --free --label tam --pin 31415926 --so-pin 27182818
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out p256.pem 2>/dev/null
openssl genpkey -algorithm ed25519 -out ed25519.pem 2>/dev/null
softhsm --import p256.pem --token tam --label tam-p256 --id 01 --pin 31415926
softhsm --import ed25519.pem --token tam --label tam-ed25519 --id 02 --pin 31415926
softhsm --import p256.pem --token tam --label twice --id 03 --pin 31415926
softhsm --import p256.pem --token tam --label twice --id 04 --pin 31415926
(umask 077; echo 31415926 >pin; echo 1234 >wrong-pin)
(umask 022; echo 31415926 >shown-pin)
for k in p256 ed25519; do openssl pkey -in $k.pem -pubout -out $k.pub; done
rm -f p256.pem ed25519.pem # from here on only the token has them

# A token in a process of its own: what a network HSM is to us.
remote=$(echo /usr/lib/*/pkcs11/p11-kit-client.so)
module=$(echo /usr/lib/*/softhsm/libsofthsm2.so)
export P11_KIT_SERVER_ADDRESS=unix:path=$work/hsm.sock
start_hsm() {
	rm -f hsm.sock
	SOFTHSM2_CONF=$work/softhsm2.conf setsid p11-kit server --foreground --provider "$module" \
	    --name "$work/hsm.sock" pkcs11:token=tam >hsm.out 2>&1 &
	hsm=$!
	try_for 10 test -S hsm.sock || die "no p11-kit server: $(cat hsm.out)"
}
stop_hsm() {
	kill -KILL -- "-$hsm"
	wait "$hsm" 2>/dev/null || true
	hsm=
}

# What names no one key, or would put a secret into the database, is refused.
add() { TAMCTL_DATABASE=$db SOFTHSM2_CONF=$work/softhsm2.conf "$tamctl" key add --module "$module" "$@"; }
refused() { # TEXT URI [OPTION...]
	local text=$1 uri=$2 status=0
	shift 2
	add --key "$uri" "$@" 2>add.err || status=$?
	[ $status != 0 ] || die "$uri: taken"
	grep -q -- "$text" add.err || die "$uri: $(cat add.err)"
	if grep -q 31415926 add.err; then die "$uri: the PIN was shown"; fi
}
base="pkcs11:token=tam;object=tam-p256"
refused 'wants a PIN' "$base"
refused 'only its owner' "$base?pin-source=file:$work/no-such-file"
refused 'only its owner' "$base?pin-source=file:$work/shown-pin"
refused 'refuses the PIN' "$base?pin-source=file:$work/wrong-pin"
refused 'has no place in a URI' "$base?pin-value=31415926"
refused 'registered with p11-kit' "$base?module-path=/tmp/x.so&pin-source=file:$work/pin"
refused 'no token fits' "pkcs11:token=other;object=tam-p256?pin-source=file:$work/pin"
refused 'no private key fits' "pkcs11:token=tam;object=other?pin-source=file:$work/pin"
refused 'several keys fit' "pkcs11:token=tam;object=twice?pin-source=file:$work/pin"
refused 'RFC 7512' "pkcs11:token=%zz"
refused 'too long' "$base?pin-source=file:/$(printf '%0500d' 1)"
refused 'can only sign' "$base?pin-source=file:$work/pin" --use agree
refused 'can only sign' "$base?pin-source=file:$work/pin" --use verify
[ "$(sql "SELECT count(*) FROM tam_key WHERE uri LIKE 'pkcs11:%'")" = 0 ] || die "a refused key was kept"

# Into service: a key of the token, and the file's out of it.
into_service() { # CURVE
	add --key "pkcs11:token=tam;object=tam-$1?pin-source=$work/pin" 2>/dev/null || die "key add $1"
	new=$(sql "SELECT encode(thumbprint, 'hex') FROM tam_key WHERE use = 'next'")
	old=$(sql "SELECT encode(thumbprint, 'hex') FROM tam_key WHERE use = 'sign' AND curve = '$1'")
	TAMCTL_DATABASE=$db "$tamctl" key use "$new"
	TAMCTL_DATABASE=$db "$tamctl" key retire "$old"
	rm -f "keys/default-$1.pem"
	mv "$1.pub" "keys/tam-$1.pub"
}

# The connection to that process cannot carry EdDSA: the other key stays a file.
into_service p256
start_hsm
start_node 1 "hsm_module=$remote" hsm_timeout_ms=700 request_time_ms=3000 publish_every_s=3600
draft_policy
try_for 10 grep -q 'tam_key_found.*tam-p256' node1/log || die "the key was not looked for: $(tail -n 5 node1/log)"
agents=${TAM_TEST_FLEET:-200}
[ "$agents" -le 200 ] || agents=200
enrol "$agents" --keys mix
count() { metric "$admin_1" "tam_$1_total"; }
settle

# What is signed with that key is signed in the token.
fleet --agents "$agents" --keys mix --outcome updated >fleet.out 2>&1 || die "fleet: $(tail -n 5 fleet.out)"
[ "$(count hsm_calls)" -ge "$agents" ] || die "only $(count hsm_calls) signatures by the token"
[ "$(count hsm_failures)" = 0 ] || die "the token failed $(count hsm_failures) times"
"$tamctl" wire-profile put both opener=sign >/dev/null
settle
ask() { # NAME [PROFILE] -> HTTP status
	curl -sS --cacert keys/tls.crt -X POST -H 'Accept: */*' -o "$1" -w '%{http_code}' \
	    "https://localhost:$port/tam/default/${2:-final}"
}
both_sign() {
	[ "$(ask opener both)" = 200 ] || die "no COSE_Sign"
	for k in p256 ed25519; do
		"$tamctl" inspect --key keys/tam-$k.pub opener >opener.json || die "$k: $(cat opener.json)"
	done
}
both_sign # one there, one here
signed_head() { # STATUS [NOTICE]
	[ "$(curl -sS --cacert keys/tls.crt -o head.cose -w '%{http_code}' "https://localhost:$port/published/default/${2:-audit-head}")" = "$1" ]
}
# A new snapshot is published anew, by a chore and therefore a moment later.
same_head() { signed_head 200 && cp head.cose first.cose && sleep 2 && signed_head 200 && cmp -s head.cose first.cose; }
try_for 30 same_head || die "no head"
"$tamctl" revocation-list show --key keys/tam-p256.pub head.cose >/dev/null || die "the head is not signed by the token"

# A token that hangs: what waits is answered in time, others are not blocked.
kill -STOP -- "-$hsm"
for i in 1 2 3 4; do ask "slow$i" both >"slow$i.status" & waiting[i]=$!; done
get "$admin_1" /livez >/dev/null
wait "${waiting[@]}"
for i in 1 2 3 4; do [ "$(cat "slow$i.status")" = 503 ] || die "a token that hangs: $(cat "slow$i.status")"; done
signed_head 503 revocations || die "a token that hangs, and a list that nobody asked for before"
signed_head 200 || die "a token that hangs, and a head that it signed before"
[ "$(count hsm_failures)" -ge 4 ] || die "failures are not counted"
[ "$(get "$admin_1" /readyz)" = ok ] || die "a token that hangs took the node down"
kill -CONT -- "-$hsm"
is_signed() { [ "$(ask opener)" = 200 ]; }
try_for 10 is_signed || die "the token came back, and nothing is signed"

# A peer that hangs up while the token thinks leaves nothing behind.
kill -STOP -- "-$hsm"
if curl -sS --cacert keys/tls.crt --max-time 0.2 -o /dev/null "https://localhost:$port/published/default/revocations" 2>/dev/null; then die "a list without a token"; fi
kill -CONT -- "-$hsm"
try_for 10 signed_head 200 || die "no head after that"
kill -STOP -- "-$hsm"
for i in 1 2 3; do timeout 0.2 curl -sS --cacert keys/tls.crt -X POST -H 'Accept: */*' "https://localhost:$port/tam" -o /dev/null 2>/dev/null || true; done
kill -CONT -- "-$hsm"
is_quiet() { [ "$(metric "$admin_1" tam_sessions)" = 0 ]; }
try_for 10 is_quiet || die "sessions were left over"

# A token that is gone: no Update is promised that nobody would sign; with the
# token the fleet goes on where it stood.
sql 'DELETE FROM outstanding_update; DELETE FROM device_component;
     UPDATE device_seen SET inventory_hash = NULL, open_work = false, version = version + 1' >/dev/null
stop_hsm
[ "$(ask opener)" = 503 ] || die "signed without a token"
grep -q 'event=tam_key uri="pkcs11:[^"]*" error=' node1/log || die "nothing was said: $(tail -n 3 node1/log)"
if grep -q 31415926 node1/log; then die "the PIN is in the log"; fi
start_hsm
try_for 10 is_signed || die "the token was started again, and nothing is signed: $(tail -n 5 node1/log)"
fleet --agents "$agents" --keys mix --outcome updated >fleet.out 2>&1 || die "fleet after the loss: $(tail -n 5 fleet.out)"
stop_node 1
stop_hsm

# In the node's own process, several threads at once.
unset P11_KIT_SERVER_ADDRESS TAMCTL_SERVER
export SOFTHSM2_CONF=$work/softhsm2.conf
sql 'DELETE FROM outstanding_update; DELETE FROM device_component;
     UPDATE device_seen SET inventory_hash = NULL, open_work = false, version = version + 1' >/dev/null
into_service ed25519
lend_memory 1 2
start_node 2 hsm_threads=4 "hsm_module=$module"
fleet --agents "$agents" --keys mix --outcome updated >fleet.out 2>&1 || die "four threads: $(tail -n 5 fleet.out)"
both_sign
stop_node 2

# A wrong PIN is tried once, by whatever thread, for tokens lock after a few;
# the right one, put into the file, is used without a restart.
cp pin right-pin
cat wrong-pin >pin
unset TAMCTL_SERVER
lend_memory 2 4
start_node 4 hsm_threads=4 "hsm_module=$module"
try_for 10 grep -q 'the token refuses the PIN' node4/log || die "a wrong PIN: $(tail -n 3 node4/log)"
for _ in 1 2 3; do
	[ "$(ask opener)" = 503 ] || die "signed with a wrong PIN"
	sleep 1.1
done
[ "$(grep -c 'the token refuses the PIN' node4/log)" = 1 ] || die "a wrong PIN was tried again"
grep -q 'refused this PIN before' node4/log || die "not said: $(tail -n 3 node4/log)"
cat right-pin >pin
try_for 10 is_signed || die "the right PIN is not used: $(tail -n 3 node4/log)"
if grep -qE '31415926|error="1234' node4/log; then die "a PIN is in the log"; fi
stop_node 4

# A URI that names another key by now signs nothing.
sql "UPDATE tam_key SET uri = replace(uri, 'tam-p256', 'tam-ed25519') WHERE curve = 'p256'" >/dev/null
unset TAMCTL_SERVER
lend_memory 4 3
start_node 3 "hsm_module=$module"
[ "$(ask opener)" = 503 ] || die "signed with another key"
try_for 10 grep -q 'error="another key"' node3/log || die "not said: $(tail -n 3 node3/log)"
stop_node 3
