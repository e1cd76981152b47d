#!/bin/bash
# Background check: Evidence goes to a Verifier, a process of its own.
set -euo pipefail
work=$build/tests/work/test_verifier
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
end_all() {
	[ -z "${verifierd:-}" ] || kill "$verifierd" 2>/dev/null || true
	end_world
}
trap end_all EXIT

make_world
start_node 1 verifier_timeout_ms=1500 verifier_calls=16
draft_policy
cd "$work"
rm -f ./*.pem ./*.pub
for k in verifier attester other; do
	"$tamctl" suit keygen --curve p256 --key $k.pem --public $k.pub
done
echo "{\"selector\": \"class == \\\"cam\\\"\", \"attestation\": \"required\", \"components\": [{\"manifest\": \"$draft_digest\"}]}" >p.json
"$tamctl" policy put base p.json >/dev/null
"$tamctl" wire-profile put attest ask=attest >/dev/null
vport=$(free_port)
enrol 8
settle
verifier() { # HOST
	"$tamctl" verifier put veraison public_key=@verifier.pub "url=https://$1:$vport/base" "ca=@keys/tls.crt" >/dev/null
	settle
}
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$vport") 2>/dev/null; }
start_verifier() { # MODE
	"$build/tests/support/verifierd" --port "$vport" --cert keys/tls.crt --key keys/tls.key \
	    --signer verifier.pem --attester attester.pub --mode "$1" \
	    --location "https://localhost:$port/tam/default/final" 2>>verifierd.log &
	verifierd=$!
	try_for 10 listens || die "no Verifier"
}
stop_verifier() {
	kill "$verifierd"
	wait "$verifierd" 2>/dev/null || true
	verifierd=
}
reset() {
	sql 'DELETE FROM outstanding_update; DELETE FROM device_component; DELETE FROM device_attestation;
	     UPDATE device_seen SET inventory_hash = NULL, open_work = false, version = version + 1' >/dev/null
}
play() { # OUTCOME OPTIONS...
	local outcome=$1
	shift
	reset
	"$tamfleet" run --server "localhost:$port" --ca keys/tls.crt \
	    --tam-key keys/tam-p256.pub --tam-key keys/tam-ed25519.pub \
	    --signer "$top/tests/vectors/keys/suit_examples_p256_public.pem" \
	    --vendor-id "$vendor" --class-id "$class_id" --agents 8 \
	    --payload "$draft_uri=$top/tests/vectors/teep-suit/8d82573a-926d-4754-9353-32dc29997f74.ta" \
	    --uri /tam/default/attest=final --outcome "$outcome" --attest evidence --whole-key -o json \
	    "$@" >fleet.out 2>fleet.err || die "$mode $*: not all $outcome: $(cat fleet.out fleet.err)"
}
told() { grep -q "\"told\": {\"$1\": 8}" fleet.out || die "$mode: $(grep told fleet.out), not $1"; }
drops() {
	get "$admin_1" /metrics | awk -v k="tam_messages_dropped_total{reason=\"$1\"}" '$1 == k { print $2; f = 1 } END { if (!f) print 0 }'
}
evidence=(--verifier-key attester.pem)

# Nobody to ask: told to come again, and nothing believed.
mode=none
play told "${evidence[@]}"
told 10

for host in localhost 127.0.0.1; do
	mode=good
	start_verifier good
	verifier $host
	play updated "${evidence[@]}"
	[ "$(sql "SELECT count(*) FROM device_attestation WHERE result = 'affirmed' AND verifier = 'veraison' AND tier = 2")" = 8 ] ||
		die "the appraisals are not recorded"
	stop_verifier
	sleep 0.2 # the node sees its idle connections close
done
openssl pkey -in keys/default-agree-p256.pem -pubout -out agree.pub
mode=good
start_verifier good
play updated "${evidence[@]}" --encrypt-to agree.pub
# What the Verifier does not affirm is not.
play told --verifier-key other.pem
told 7
play told "${evidence[@]}" --attest-fault worthless
told 7
[ "$(drops attest_status)" = 16 ] || die "contraindicated: $(drops attest_status)"

# Evidence goes to who takes its type: not to one, first by name, that takes
# another, and before it to who takes any.
"$tamctl" verifier put aaa public_key=@other.pub url=https://localhost:1 'media_types=["application/psa-attestation-token"]' >/dev/null
settle
play updated "${evidence[@]}"
"$tamctl" verifier put aaa public_key=@other.pub url=https://localhost:1 >/dev/null
"$tamctl" verifier put veraison public_key=@verifier.pub "url=https://localhost:$vport/base" "ca=@keys/tls.crt" \
    'media_types=["application/psa-attestation-token", "application/eat+cwt"]' >/dev/null
settle
play updated "${evidence[@]}"
"$tamctl" verifier delete aaa >/dev/null

# A Verifier's result goes back to the agent, which shows it until it is old.
"$tamctl" wire-profile put attest ask=attest always_token=true >/dev/null
for pass_back in false true; do
	"$tamctl" verifier put veraison public_key=@verifier.pub "url=https://localhost:$vport/base" "ca=@keys/tls.crt" \
	    max_age_s=600 pass_back=$pass_back >/dev/null
	settle
	calls=$(metric "$admin_1" tam_verifier_calls_total)
	reset
	"$tamfleet" run --server "localhost:$port" --ca keys/tls.crt --tam-key keys/tam-p256.pub --tam-key keys/tam-ed25519.pub \
	    --signer "$top/tests/vectors/keys/suit_examples_p256_public.pem" --vendor-id "$vendor" --class-id "$class_id" --agents 8 \
	    --payload "$draft_uri=$top/tests/vectors/teep-suit/8d82573a-926d-4754-9353-32dc29997f74.ta" \
	    --uri /tam/default/attest=final --attest evidence --whole-key "${evidence[@]}" --rounds 4 -o json >fleet.out 2>&1 ||
		die "results passed back: $(cat fleet.out)"
	calls=$(($(metric "$admin_1" tam_verifier_calls_total) - calls))
	[ $pass_back = true ] || [ $calls = 32 ] || die "$calls appraisals of 32"
	[ $pass_back = false ] || [ $calls = 16 ] || die "$calls appraisals of 16: results are not shown again"
done
grep -q '"passports": 8' fleet.out || die "$(grep passports fleet.out) were passed back"
"$tamctl" wire-profile put attest ask=attest always_token=false >/dev/null
verifier localhost
stop_verifier

mode=pending
start_verifier $mode
play updated "${evidence[@]}"
stop_verifier

# What is not signed by the Verifier is not believed, whoever sent it.
mode=forged
start_verifier $mode
play told "${evidence[@]}"
told 7
[ "$(drops attest_untrusted)" = 8 ] || die "forged: $(drops attest_untrusted)"
stop_verifier

# Wrong, broken, slow, silent or down: a stated outcome, never an accepted
# device; and other devices are served meanwhile.
for mode in status garbage nowhere huge slow redirect; do
	start_verifier $mode
	was=$(drops verifier_down)
	play told "${evidence[@]}"
	told 10
	[ "$(drops verifier_down)" = $((was + 8)) ] || die "$mode is not counted"
	[ "$(sql 'SELECT count(*) FROM outstanding_update')" = 0 ] || die "$mode: a device was accepted"
	# Agents do not go where they are sent either, though a TAM is there.
	[ $mode != redirect ] || play http_error "${evidence[@]}" --server "localhost:$vport" --http 1
	stop_verifier
	sleep 2.5 # longer than the breaker stays open after one such run
done
mode=down
play told "${evidence[@]}"
told 10
[ "$(metric "$admin_1" tam_verifier_failures_total)" -ge 48 ] || die "failures are not counted"

# It comes back, and is believed again by itself.
mode=good
start_verifier good
back() {
	reset
	"$tamfleet" run --server "localhost:$port" --ca keys/tls.crt --tam-key keys/tam-p256.pub --tam-key keys/tam-ed25519.pub \
	    --signer "$top/tests/vectors/keys/suit_examples_p256_public.pem" --vendor-id "$vendor" --class-id "$class_id" --agents 1 \
	    --payload "$draft_uri=$top/tests/vectors/teep-suit/8d82573a-926d-4754-9353-32dc29997f74.ta" \
	    --uri /tam/default/attest=final --outcome updated --attest evidence --whole-key "${evidence[@]}"
}
try_for 40 back || die "the Verifier is back, and is not asked"

# A certificate that is not the pinned one's is not spoken to.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -keyout o.key -out o.crt \
    -subj /CN=localhost -addext 'subjectAltName=DNS:localhost' 2>/dev/null
"$tamctl" verifier put veraison public_key=@verifier.pub "url=https://localhost:$vport/base" "ca=@o.crt" >/dev/null
settle
mode=pinned
play told "${evidence[@]}"
told 10
stop_verifier

# --- the Verifier of our own: endorsed keys, reference values, and a result for
# the agent to show as a passport.
mode=builtin
"$tamctl" verifier delete veraison >/dev/null
"$tamctl" wire-profile put attest ask=attest always_token=true >/dev/null
model=$(printf tamfleet | od -An -tx1 | tr -d ' \n')
"$tamctl" endorsement put att public_key=@attester.pub "hwmodel=$model" >/dev/null
settle
play told "${evidence[@]}"
told 7 # no reference value allows it
"$tamctl" reference-value put any "hwmodel=$model" hwversion=9.9 >/dev/null
settle
play told "${evidence[@]}"
told 7
"$tamctl" reference-value put any "hwmodel=$model" dbgstat=3 >/dev/null
settle
play updated "${evidence[@]}"
[ "$(sql "SELECT count(*) FROM device_attestation WHERE result = 'affirmed' AND verifier = 'builtin'")" = 8 ] || die "builtin: not recorded"
for fault in forged key expired worthless; do
	play told "${evidence[@]}" --attest-fault $fault
	told 7
done
play told --verifier-key other.pem # nobody endorsed it
told 7
"$tamctl" reference-value put any "hwmodel=$model" dbgstat=4 >/dev/null
settle
play told "${evidence[@]}"
told 7
"$tamctl" reference-value put any "hwmodel=$model" "manifests=[\"$draft_digest\"]" >/dev/null
settle
# Three sessions: an Update; then nothing to do, and the result passed back;
# then the agent shows that, and its signature is known.
reset
passes=$(metric "$admin_1" tam_passports_total)
"$tamfleet" run --server "localhost:$port" --ca keys/tls.crt --tam-key keys/tam-p256.pub --tam-key keys/tam-ed25519.pub \
    --signer "$top/tests/vectors/keys/suit_examples_p256_public.pem" --vendor-id "$vendor" --class-id "$class_id" --agents 8 \
    --payload "$draft_uri=$top/tests/vectors/teep-suit/8d82573a-926d-4754-9353-32dc29997f74.ta" \
    --uri /tam/default/attest=final --attest evidence "${evidence[@]}" --rounds 4 -o json >fleet.out 2>&1 ||
	die "passports: $(cat fleet.out)"
grep -q '"passports": 8' fleet.out || die "$(grep passports fleet.out) were passed back"
[ "$(metric "$admin_1" tam_passports_total)" = $((passes + 8)) ] || die "passports are not counted"
[ "$(metric "$admin_1" tam_attestations_cached_total)" -ge 8 ] || die "a passport is verified each time"
"$tamctl" reference-value put any "hwmodel=$model" "manifests=[\"$(printf '%064d' 7)\"]" >/dev/null
settle
"$tamctl" domain set passport_s=0 >/dev/null
settle
[ "$("$tamctl" -o json reference-value list | grep -c "$(printf '%064d' 7)")" = 1 ] || die "reference values are not listed"

# An agent that wants to know whom it talks to (T53) is shown a result about
# this TAM's key; one by another Verifier it does not believe.
openssl pkey -in keys/default-verify.pem -pubout -out tamverify.pub
echo "{\"selector\": \"class == \\\"cam\\\"\", \"components\": [{\"manifest\": \"$draft_digest\"}]}" >p.json
"$tamctl" policy put base p.json >/dev/null
"$tamctl" domain set passport_s=60 >/dev/null
settle
mode=tam
tam_uri=(--uri /tam/default/final=final)
shown() { # OUTCOME VERIFIER
	reset
	"$tamfleet" run --server "localhost:$port" --ca keys/tls.crt --tam-key keys/tam-p256.pub --tam-key keys/tam-ed25519.pub \
	    --signer "$top/tests/vectors/keys/suit_examples_p256_public.pem" --vendor-id "$vendor" --class-id "$class_id" --agents 8 \
	    --payload "$draft_uri=$top/tests/vectors/teep-suit/8d82573a-926d-4754-9353-32dc29997f74.ta" \
	    "${tam_uri[@]}" --play error=7 --tam-verifier "$2" --outcome "$1" >fleet.out 2>&1 || die "T53, $1: $(cat fleet.out)"
}
shown updated tamverify.pub
shown refused_by_agent verifier.pub
stop_node 1
