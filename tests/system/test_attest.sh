#!/bin/bash
# Attestation: who passes, who does not and is told why, and what follows.
set -euo pipefail
work=$build/tests/work/test_attest
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
start_node 1
draft_policy
cd "$work"
rm -f ./*.pem ./*.pub
for k in verifier stranger; do
	"$tamctl" suit keygen --curve p256 --key $k.pem --public $k.pub
done
"$tamctl" suit keygen --curve ed25519 --key verifier2.pem --public verifier2.pub
for k in p256 x25519; do openssl pkey -in keys/default-agree-$k.pem -pubout -out agree-$k.pub; done
# None of many is forgotten: what this test uses is the last of 40 wire profiles,
# of 20 Verifiers and of nine keys to encrypt to.  Doors refuse so many.
sql "INSERT INTO wire_profile (domain_id, name, wire_id) SELECT 1, 'many-' || i, i + 10 FROM generate_series(1, 40) i" >/dev/null
"$tamctl" suit keygen --curve p256 --key filler.pem --public filler.pub
"$tamctl" verifier put filler public_key=@filler.pub >/dev/null
sql "CREATE TABLE kept AS SELECT * FROM tam_key WHERE use = 'agree' AND curve = 'p256';
	DELETE FROM tam_key WHERE use = 'agree' AND curve = 'p256'" >/dev/null
for i in 1 2 3 4 5 6 7; do
	"$tamctl" key add --database "$db" --key "$work/keys/agree-$i.pem" --use agree 2>/dev/null || die "key $i to agree with"
done
if "$tamctl" key add --database "$db" --key "$work/keys/agree-9.pem" --use agree 2>bad.err; then die "a ninth key to agree with"; fi
grep -q 'at most 8 keys' bad.err && [ ! -e "$work/keys/agree-9.pem" ] || die "a ninth key: $(cat bad.err)"
sql "UPDATE kept SET created_at = clock_timestamp(); INSERT INTO tam_key SELECT * FROM kept;
	INSERT INTO verifier (domain_id, name, curve, public_key, thumbprint)
	SELECT domain_id, 'aa-' || i, curve, public_key, decode(lpad(to_hex(i), 64, '0'), 'hex')
	FROM verifier, generate_series(1, 15) i WHERE name = 'filler'" >/dev/null
if "$tamctl" verifier put another public_key=@verifier.pub 2>bad.err; then die "a 17th Verifier"; fi
grep -q '409 limit_reached.*at most 16 Verifiers' bad.err || die "a 17th Verifier: $(cat bad.err)"
"$tamctl" verifier put filler public_key=@filler.pub >/dev/null || die "a Verifier that is there"
sql "CREATE TABLE fillers AS SELECT * FROM verifier; DELETE FROM verifier" >/dev/null
"$tamctl" verifier put one public_key=@verifier.pub >/dev/null
"$tamctl" verifier put two public_key=@verifier2.pub max_age_s=600 >/dev/null
sql "INSERT INTO verifier SELECT * FROM fillers" >/dev/null
"$tamctl" wire-profile put attest ask=attest >/dev/null
"$tamctl" wire-profile put attest-token ask=attest always_token=true >/dev/null
"$tamctl" wire-profile put attest-legacy ask=attest numbering=legacy opener=sign >/dev/null
policy() { # ATTESTATION
	echo "{\"selector\": \"class == \\\"cam\\\"\", \"attestation\": \"$1\", \"components\": [{\"manifest\": \"$draft_digest\"}]}" >p.json
	"$tamctl" policy put base p.json >/dev/null
	settle
}
policy required
enrol 8
reset() { # as if no device had been seen
	sql 'DELETE FROM outstanding_update; DELETE FROM device_component; DELETE FROM device_attestation;
	     UPDATE device_seen SET inventory_hash = NULL, open_work = false, version = version + 1' >/dev/null
}
play() { # OUTCOME URI OPTIONS...
	local outcome=$1 uri=$2
	shift 2
	reset
	"$tamfleet" run --server "localhost:$port" --ca keys/tls.crt \
	    --tam-key keys/tam-p256.pub --tam-key keys/tam-ed25519.pub \
	    --signer "$top/tests/vectors/keys/suit_examples_p256_public.pem" \
	    --vendor-id "$vendor" --class-id "$class_id" --agents 8 \
	    --payload "$draft_uri=$top/tests/vectors/teep-suit/8d82573a-926d-4754-9353-32dc29997f74.ta" \
	    --uri "$uri" --outcome "$outcome" "$@" >fleet.out 2>fleet.err ||
		die "$uri $*: not all $outcome: $(cat fleet.out fleet.err)"
}
metric_is() { # NAME VALUE
	[ "$(metric "$admin_1" "tam_$1")" = "$2" ] || die "$1 is $(metric "$admin_1" "tam_$1"), not $2"
}
drops() {
	get "$admin_1" /metrics | awk -v k="tam_messages_dropped_total{reason=\"$1\"}" '$1 == k { print $2 }'
}
results() {
	sql "SELECT string_agg(DISTINCT result || ' ' || reason || ' ' || verifier, ',') FROM device_attestation"
}
new=/tam/default/attest=final
old=/tam/default/attest-legacy=legacy

# A passport, in both numberings, forms and ways to be encrypted.
passport=(--attest eat --verifier-key verifier.pem)
play updated $new "${passport[@]}"
[ "$(results)" = 'affirmed  one' ] || die "the appraisal is not recorded: $(results)"
[[ $("$tamctl" -o json device get agent-000001) == *'"result":"affirmed"'* ]] || die "the appraisal is not shown"
metric_is attestations_total 8
play updated $old "${passport[@]}"
play updated $old --deprecated-algs "${passport[@]}"
play updated $new --attest eat --verifier-key verifier2.pem
play updated $new --attest ear --verifier-key verifier.pem
play updated $old --attest ear --verifier-key verifier2.pem
for k in p256 x25519; do
	for alg in ctr gcm chacha; do
		play updated $new "${passport[@]}" --encrypt-to agree-$k.pub --encrypt $alg
	done
done
metric_is attestations_failed_total 0

# One thing wrong each: told so with its code, recorded with its reason, and
# nothing else happens.
wrong() { # CODE REASON FAULT [FORM]
	play told /tam/default/attest-token=final --attest "${4:-eat}" --verifier-key "${5:-verifier.pem}" --attest-fault "$3" -o json
	grep -q "\"told\": {\"$1\": 8}" fleet.out || die "$3: told $(grep told fleet.out), not $1"
	[ "$(drops "$2")" -ge 8 ] || die "$3: $2 is not counted"
	[ -z "$2" ] || [ "$1" = 1 ] || [ "$(results)" = "failed $2 " ] || die "$3: recorded as $(results)"
	[ "$(sql 'SELECT count(*) FROM device_component')" = 0 ] || die "$3: an inventory was believed"
	[ "$(sql 'SELECT count(*) FROM outstanding_update')" = 0 ] || die "$3: an Update was made"
}
for form in eat ear ear-cwt; do
	wrong 7 attest_stale nonce $form
	wrong 7 attest_binding key $form
	wrong 7 attest_expired expired $form
	wrong 7 attest_untrusted forged $form
	wrong 7 attest_untrusted sound $form stranger.pem
done
wrong 7 attest_claims worthless eat
wrong 7 attest_status worthless ear
wrong 7 attest_status worthless ear-cwt
wrong 1 attest_missing absent eat
# Encrypted to somebody else.
openssl genpkey -algorithm X25519 2>/dev/null | openssl pkey -pubout -out other.pub
play told /tam/default/attest-token=final "${passport[@]}" --encrypt-to other.pub
[ "$(results)" = 'failed cannot_decrypt ' ] || die "encrypted to another: $(results)"

# Without a token the wrong nonce is no challenge of ours: dropped.
play quiet $new "${passport[@]}" --attest-fault nonce
[ "$(drops token_forged)" = 8 ] || die "a forged challenge is not counted"

# A result with no nonce of ours passes for as long as its Verifier may be old.
"$tamctl" verifier put two public_key=@verifier2.pub >/dev/null
settle
play told /tam/default/attest-token=final --attest eat --verifier-key verifier2.pem --attest-fault nonce
"$tamctl" verifier put two public_key=@verifier2.pub max_age_s=600 >/dev/null
settle
play updated /tam/default/attest-token=final --attest eat --verifier-key verifier2.pem --attest-fault nonce

# A Verifier believed no longer: at once, whatever was verified before.
"$tamctl" verifier delete two >/dev/null
settle
play told /tam/default/attest-token=final --attest eat --verifier-key verifier2.pem

# A TAM URI that asks for nothing steps to attestation where a policy needs it;
# an agent that cannot attest gets nothing there, and is known without where
# none needs it.
play updated /tam/default/final=final "${passport[@]}"
play quiet /tam/default/final=final
play quiet $new
policy any
play updated /tam/default/final=final
play updated $new
play updated $new "${passport[@]}"

# What mends those that fail, and only those.
policy repair
play quiet $new "${passport[@]}"
play updated /tam/default/attest-token=final "${passport[@]}" --attest-fault nonce
policy required

# The same passport, presented again: its signature is not verified again.
was=$(metric "$admin_1" tam_attestations_cached_total)
"$tamctl" verifier put one public_key=@verifier.pub max_age_s=600 >/dev/null
settle
play updated $new "${passport[@]}" --play duplicate
[ "$(metric "$admin_1" tam_attestations_cached_total)" = $((was + 8)) ] || die "a result was verified twice"

# Once it is compliant, an attested device is answered from the cache.
reset
was=$(metric "$admin_1" tam_polls_cached_total)
if "$tamfleet" run --server "localhost:$port" --ca keys/tls.crt --tam-key keys/tam-p256.pub \
    --tam-key keys/tam-ed25519.pub --signer "$top/tests/vectors/keys/suit_examples_p256_public.pem" \
    --vendor-id "$vendor" --class-id "$class_id" --agents 8 --rounds 5 \
    --payload "$draft_uri=$top/tests/vectors/teep-suit/8d82573a-926d-4754-9353-32dc29997f74.ta" \
    --uri $new "${passport[@]}" >fleet.out 2>&1; then :; else die "five rounds: $(cat fleet.out)"; fi
[ "$(metric "$admin_1" tam_polls_cached_total)" -ge $((was + 16)) ] || die "attested polls are not cached"

# --- first contact: keys nobody knows, vouched for by a Verifier
policy any
"$tamctl" verifier put one public_key=@verifier.pub >/dev/null
settle
first=(--seed first --whole-key)
devices() { sql "SELECT count(*) FROM device WHERE $1"; }
play dropped $new "${passport[@]}" "${first[@]}"
[ "$(devices true)" = 8 ] || die "a closed domain took a device"
"$tamctl" domain set enrol=attested enrol_class=cam >/dev/null
settle
# Pending: known, and refused until somebody says active.
play dropped $new "${passport[@]}" "${first[@]}"
[ "$(devices "status = 'pending' AND class = 'cam'")" = 8 ] || die "no pending devices"
[ "$(metric "$admin_1" tam_enrolments_total)" = 8 ] || die "enrolments are not counted"
play dropped $new "${passport[@]}" "${first[@]}"
[ "$(devices true)" = 16 ] || die "enrolled twice"
sql "UPDATE device SET status = 'active'" >/dev/null
play updated $new "${passport[@]}" "${first[@]}"
# Active: in its first session; but not by a result that names no key, that
# another Verifier signed, that is about another key, or that says not who.
"$tamctl" domain set enrol_status=active >/dev/null
settle
play dropped $new "${passport[@]}" --seed second
play dropped $new --attest eat --verifier-key stranger.pem --seed second --whole-key
play dropped $new "${passport[@]}" --seed second --whole-key --attest-fault key
play dropped $new --attest ear --verifier-key verifier.pem --seed second
play dropped $new "${passport[@]}" --seed second --whole-key --attest-fault expired
[ "$(devices true)" = 16 ] || die "somebody nobody vouched for is enrolled"
play updated $new "${passport[@]}" --seed second --whole-key
[ "$(devices true)" = 24 ] || die "not enrolled at first contact"

# A new key for an identity that is known: refused, waiting, or taken; and never
# where the identity is quarantined.
rekeyed=("${passport[@]}" --seed third --whole-key --ueid-of second)
play dropped $new "${rekeyed[@]}"
[ "$(metric "$admin_1" tam_enrolments_refused_total)" = 8 ] || die "a new key was not refused"
"$tamctl" domain set rekey=pending >/dev/null
settle
play dropped $new "${rekeyed[@]}"
[ "$(sql 'SELECT count(*) FROM device_rekey')" = 8 ] || die "no key waits"
read -r name key <<<"$(sql "SELECT d.name, encode(r.thumbprint, 'hex') FROM device_rekey r JOIN device d USING (device_id) LIMIT 1" | tr '|' ' ')"
if "$tamctl" device rekey "$name" thumbprint=00 take=true reason=test 2>/dev/null; then die "another key was taken"; fi
"$tamctl" device rekey "$name" "thumbprint=$key" take=true reason=test >/dev/null
[ "$(sql "SELECT count(*) FROM device_key WHERE encode(thumbprint, 'hex') = '$key'")" = 1 ] || die "the key was not taken"
[ "$(sql 'SELECT count(*) FROM device_rekey')" = 7 ] || die "it still waits"
"$tamctl" domain set rekey=auto >/dev/null
settle
sql "UPDATE device SET status = 'quarantined' WHERE device_id IN (SELECT device_id FROM device_rekey ORDER BY device_id LIMIT 2)" >/dev/null
was=$(sql 'SELECT count(*) FROM device_key')
reset
"$tamfleet" run --server "localhost:$port" --ca keys/tls.crt --tam-key keys/tam-p256.pub --tam-key keys/tam-ed25519.pub \
    --signer "$top/tests/vectors/keys/suit_examples_p256_public.pem" --vendor-id "$vendor" --class-id "$class_id" --agents 8 \
    --payload "$draft_uri=$top/tests/vectors/teep-suit/8d82573a-926d-4754-9353-32dc29997f74.ta" \
    --uri $new "${rekeyed[@]}" -o json >fleet.out 2>&1 || [ $? = 3 ] || die "rekeyed: $(cat fleet.out)"
grep -q '"quiet": 0, "updated": 6, .*"dropped": 2,' fleet.out || die "rekeyed: $(grep outcomes fleet.out)"
[ "$(sql 'SELECT count(*) FROM device_key')" = "$was" ] || die "a device has two keys"
"$tamctl" domain set rekey=refuse >/dev/null
settle
[ "$(sql 'SELECT count(*) FROM device_key')" = 24 ] || die "keys: $(sql 'SELECT count(*) FROM device_key')"

# --- certificates: a CA of the domain vouches for keys nobody knows
make_ca() { # NAME
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -keyout "$1.key" -out "$1.crt" \
	    -subj "/CN=$1" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
}
make_ca factory
make_ca stranger
final=/tam/default/final=final
certified=(--seed certified --x5chain factory.crt:factory.key)
play dropped $final "${certified[@]}"
[ "$(devices true)" = 24 ] || die "a certificate nobody asked for enrolled a device"
"$tamctl" device-ca put factory certificates=@factory.crt >/dev/null
"$tamctl" domain set enrol=ca enrol_status=active >/dev/null
settle
play dropped $final --seed certified --x5chain stranger.crt:stranger.key
[ "$(drops cert_untrusted)" = 16 ] || die "another CA: $(drops cert_untrusted)"
play dropped $final --seed certified --x5chain factory.crt:factory.key:-1
[ "$(drops cert_expired)" = 16 ] || die "expired: $(drops cert_expired)"
[ "$(devices true)" = 24 ] || die "a bad certificate enrolled a device"
play updated $final "${certified[@]}"
[ "$(devices "name LIKE 'device-%'")" = 8 ] || die "not enrolled by certificate"
play updated $final "${certified[@]}" # known now
play dropped $final --seed certified # and never without its certificate
[ "$(drops cert_missing)" = 16 ] || die "a device of a CA went on without its certificate"
[ "$(devices true)" = 32 ] || die "enrolled twice"
play updated /tam/default/legacy=legacy "${certified[@]}" --deprecated-algs
# The same certificate number with another key is another key of that device.
play dropped $final --seed other --x5chain factory.crt:factory.key
[ "$(devices true)" = 32 ] || die "a certificate's number enrolled two devices"
# Expired or revoked, a certificate is no longer a known device's key either.
play dropped $final --seed certified --x5chain factory.crt:factory.key:-1
mkdir -p ca
: >ca/index
for n in 1 2 3 4 5 6 7 8; do printf 'R\t301231235959Z\t261101000000Z\t%02X\tunknown\t/CN=x\n' $n; done >ca/index
printf '[ca]\ndefault_ca=d\n[d]\ndatabase=ca/index\ndefault_md=sha256\ndefault_crl_days=30\ncrlnumber=ca/number\n' >ca/conf
echo 01 >ca/number
openssl ca -config ca/conf -gencrl -keyfile factory.key -cert factory.crt -out factory.crl 2>/dev/null || die "no CRL"
"$tamctl" device-ca put factory certificates=@factory.crt crl=@factory.crl >/dev/null
settle
play dropped $final "${certified[@]}"
[ "$(drops cert_revoked)" = 16 ] || die "revoked: $(drops cert_revoked)"
if "$tamctl" device-ca put bad certificates=nonsense 2>/dev/null; then die "nonsense is a CA"; fi
openssl req -x509 -newkey rsa:1024 -nodes -days 30 -keyout weak.key -out weak.crt -subj /CN=weak 2>/dev/null
if "$tamctl" device-ca put bad certificates=@weak.crt 2>bad.err; then die "a weak CA"; fi
grep -q '422 invalid_value at /certificates: the key of a certificate is too weak' bad.err || die "a weak CA: $(cat bad.err)"
# A purpose that tamfleet's certificates do not have.
"$tamctl" device-ca put factory certificates=@factory.crt purpose=1.3.6.1.4.1.99999.1 >/dev/null
settle
was=$(drops cert_untrusted)
sleep 1.1 # the log takes 20 lines about peers in a second, and those before were as many
play dropped $final "${certified[@]}"
[ "$(drops cert_untrusted)" = $((was + 16)) ] || die "another purpose: $(drops cert_untrusted), was $was"
grep -q 'event=certificate_refused .*why="an extKeyUsage does not allow the purpose"' node1/log || die "the log does not say why"

# Devices that prove themselves when they show a target gone are told apart.
policy any
sql "DELETE FROM device_key WHERE device_id NOT IN (SELECT device_id FROM device WHERE name LIKE 'agent-%');
     UPDATE device SET status = 'decommissioned' WHERE name NOT LIKE 'agent-%'" >/dev/null
revoke_while() { # OPTIONS... -> status in status.json
	reset
	"$tamfleet" run --server "localhost:$port" --ca keys/tls.crt \
	    --tam-key keys/tam-p256.pub --tam-key keys/tam-ed25519.pub \
	    --signer "$top/tests/vectors/keys/suit_examples_p256_public.pem" \
	    --vendor-id "$vendor" --class-id "$class_id" --agents 8 \
	    --payload "$draft_uri=$top/tests/vectors/teep-suit/8d82573a-926d-4754-9353-32dc29997f74.ta" \
	    --rounds 0 --interval 0.3 --duration 5 "$@" >fleet.out 2>&1 &
	fleet=$!
	holds() { [ "$(sql 'SELECT count(*) FROM device_component')" = 8 ]; }
	try_for 10 holds || die "nobody holds it: $(cat fleet.out)"
	revocation=$("$tamctl" -o json revocation create component=$draft_component reason=test | json_number id)
	done_() { "$tamctl" -o json revocation status "$revocation" | tr -d ' \n' >status.json && grep -q '"verified":8,' status.json; }
	try_for 10 done_ || die "not verified: $(cat status.json)"
	wait $fleet || true
	"$tamctl" revocation lift "$revocation" reason=next >/dev/null
	settle
}
revoke_while --uri "$new" "${passport[@]}"
grep -q '"attested":8,"reported":0,' status.json || die "attested: $(cat status.json)"
revoke_while --uri $final
grep -q '"attested":0,"reported":8,' status.json || die "reported: $(cat status.json)"
stop_node 1

