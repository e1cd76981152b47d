#!/bin/bash
# Every numbering, algorithm, HTTP version and way to attest in one table; the
# wire profiles of the agents there are; and agents that play.
set -euo pipefail
work=$build/tests/work/test_matrix
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
peer=$build/tests/support/peer
end_all() {
	[ -z "${verifierd:-}" ] || kill "$verifierd" 2>/dev/null || true
	end_world
}
trap end_all EXIT

make_world
start_node 1
draft_policy
cd "$work"
rm -f ./*.pem ./*.pub
for k in verifier attester; do "$tamctl" suit keygen --curve p256 --key $k.pem --public $k.pub; done
vport=$(free_port)
"$build/tests/support/verifierd" --port "$vport" --cert keys/tls.crt --key keys/tls.key \
    --signer verifier.pem --attester attester.pub 2>verifierd.log &
verifierd=$!
"$tamctl" verifier put v public_key=@verifier.pub "url=https://localhost:$vport/base" ca=@keys/tls.crt >/dev/null
"$tamctl" wire-profile put attest ask=attest >/dev/null
"$tamctl" wire-profile put attest-legacy ask=attest numbering=legacy >/dev/null
enrol 4 --keys p256 --prefix p
enrol 4 --keys ed25519 --prefix e --seed ed
settle
reset() {
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
	    --vendor-id "$vendor" --class-id "$class_id" --agents 4 --keys p256 \
	    --payload "$draft_uri=$top/tests/vectors/teep-suit/8d82573a-926d-4754-9353-32dc29997f74.ta" \
	    --uri "$uri" --outcome "$outcome" "$@" >fleet.out 2>fleet.err ||
		die "$uri $*: not all $outcome: $(cat fleet.out fleet.err)"
}
count() { metric "$admin_1" "tam_$1_total"; }

n=0
for numbering in final legacy; do
	for keys in '--keys p256' '--keys ed25519 --seed ed'; do
		for algs in '' --deprecated-algs; do
			for http in 1 2; do
				for how in none eat ear ear-cwt evidence; do
					uri=/tam/default/$numbering
					attest=
					case $how in
					none) ;;
					evidence) attest='--attest evidence --whole-key --verifier-key attester.pem' ;;
					*) attest="--attest $how --verifier-key verifier.pem" ;;
					esac
					[ $how = none ] || { uri=/tam/default/attest; [ $numbering = final ] || uri=$uri-legacy; }
					was=$(count attestations)
					# shellcheck disable=SC2086  # lists of options
					play updated $uri=$numbering $keys $algs --http $http $attest
					[ $how = none ] || [ "$(count attestations)" = $((was + 4)) ] || die "$uri $keys $http $how: not attested"
					n=$((n + 1))
				done
			done
		done
	done
done
[ $n = 80 ] || die "$n combinations"

# The agents there are: old numbering, old algorithm numbers, small Updates, a
# kid of their own.
for profile in libteep draft12; do
	play updated /tam/default/$profile=legacy --deprecated-algs --http 1
	curl -sS --cacert keys/tls.crt -X POST -H 'Accept: */*' "https://localhost:$port/tam/default/$profile" -o opener
	"$tamctl" inspect --key keys/tam-p256.pub --numbering legacy opener >opener.json || die "$profile: $(cat opener.json)"
	grep -q '"name": "ES256"' opener.json || die "$profile: $(cat opener.json)"
done
# The bytes of each profile's QueryRequest, against the draft it stands for.  Its
# lists are those of the draft's own example (appendix D, in tests/vectors); a
# list of before, and the suites of RFC 9053's numbers, are written by hand:
# [18, -7] is 82 12 26, [18, -8] 82 12 27, [18, -9] 82 12 28, [18, -19] 82 12 32.
suites=828182122881821232
profiles=84842f28381c39fffd842f32381c39fffd842f28381c01842f32381c1818
for numbering in final legacy; do
	od -An -v -tx1 "$top/tests/vectors/teep-$numbering-numbering/query_request.cbor" | tr -d ' \n' | grep -q "038100$suites${profiles}03\$" ||
		die "the lists are not those of the draft's $numbering example"
done
old_suites=848182122681821227${suites#82}
thumbprint=a1045820'[0-9a-f]{64}' token='[0-9a-f]{128}'
bytes() { # PROFILE PROTECTED UNPROTECTED OPTIONS LISTS-AND-ITEMS
	local hex pattern
	curl -sS --cacert keys/tls.crt -X POST -H 'Accept: */*' "https://localhost:$port/tam/default/$1" -o opener
	hex=$(od -An -v -tx1 opener | tr -d ' \n')
	pattern="^d28443a101$2$3(58|5901)(..)(8501$4$5)5840[0-9a-f]{128}\$" # RFC 9052, 4.2: COSE_Sign1
	[[ $hex =~ $pattern ]] || die "the QueryRequest of $1: $hex is not $pattern"
	local n=$((16#${BASH_REMATCH[2]})) m=$((${#BASH_REMATCH[3]} / 2))
	[ "${BASH_REMATCH[1]}" = 58 ] || n=$((n + 256))
	[ $n = $m ] || die "the QueryRequest of $1: a payload of $m bytes said to have $n"
}
bytes final 28 "$thumbprint" "a2038100135840$token" "$suites${profiles}02"
bytes legacy 28 "$thumbprint" "a2038100145840$token" "$suites${profiles}02"
bytes libteep 26 "$thumbprint" "a2038100145840$token" "$old_suites${profiles}02"
bytes draft12 26 a1044401000000 "a2038100145840$token" "${old_suites}8182260102"
bytes attest 28 "$thumbprint" "a2025840${token}038100" "$suites${profiles}03"
bytes attest-legacy 28 "$thumbprint" "a2025840${token}038100" "$suites${profiles}03"
# The form for agents nothing is known of: COSE_Sign, a signature per suite.
"$tamctl" wire-profile put all opener=sign algorithms=deprecated numbering=legacy >/dev/null
settle
is_there() { curl -sS --cacert keys/tls.crt -X POST -H 'Accept: */*' "https://localhost:$port/tam/default/all" -o all && [ -s all ]; }
try_for 10 is_there || die "no wire profile all"
hex=$(od -An -v -tx1 all | tr -d ' \n')
# RFC 9052, 4.1: 98([h'', {}, payload, [2 signatures]]), ES256 and EdDSA
pattern="^d8628440a058..8501a2038100145840$token$old_suites${profiles}02828343a10126${thumbprint}5840[0-9a-f]{128}8343a10127${thumbprint}5840[0-9a-f]{128}\$"
[[ $hex =~ $pattern ]] || die "the QueryRequest of all: $hex is not $pattern"
curl -sS --cacert keys/tls.crt -X POST -H 'Accept: */*' "https://localhost:$port/tam/default/draft12" -o opener
"$tamctl" inspect --key keys/tam-p256.pub --numbering legacy opener >opener.json || die "draft12: $(cat opener.json)"
grep -q '"kid": "01000000"' opener.json || die "draft12: $(cat opener.json)"
reset
post() {
	curl -sS --cacert keys/tls.crt -X POST -H 'Accept: */*' -H 'Content-Type: application/teep+cbor' \
	    --data-binary "@$1" -o "$2" "https://localhost:$port/tam/default/libteep"
}
: >empty
post empty o
"$peer" --agent 0 query-response o a
post a u
[ "$(stat -c %s u)" -gt 400 ] || die "no Update"
[ "$(stat -c %s u)" -le 1024 ] || die "an Update of $(stat -c %s u) bytes for libteep"

# How often to come: said when nothing else is, from the rows and from memory.
echo '{"poll_interval_s": 1800, "components": [{"component": "vendor/none", "state": "absent"}]}' >poll.json
"$tamctl" policy put poll poll.json >/dev/null
settle
advice() { # the answer to a QueryResponse that shows the draft's component
	post empty o
	"$peer" --agent 0 --tc "$draft_component=8cf71ac86af31be184ec7a05a411a8c3a14fd9b77a30d046397481469468ece8" query-response o a
	curl -sS --cacert keys/tls.crt -X POST -H 'Accept: */*' -H 'Content-Type: application/teep+cbor' --data-binary @a \
	    -o u -D headers -w '%{http_code}' "https://localhost:$port/tam/default/libteep"
	tr -d '\r' <headers | sed -n 's/^[Rr]etry-[Aa]fter: / /p'
}
sql "DELETE FROM outstanding_update" >/dev/null
was=$(count polls_cached)
for _ in 1 2 3; do
	[ "$(advice | tr -d '\n')" = '204 1800' ] || die "advice: $(cat headers)"
done
[ "$(count polls_cached)" -gt "$was" ] || die "the advice comes from the rows only"
name=$(sql "SELECT d.name FROM device_seen s JOIN device d USING (domain_id, device_id) ORDER BY s.seen_us DESC LIMIT 1")
"$tamctl" -o json device explain "$name" | tr -d ' \n' >explain.json
grep -q '"poll_interval_s":1800' explain.json || die "explain: $(cat explain.json)"
"$tamctl" policy delete poll >/dev/null
settle
[ "$(advice | tr -d '\n')" = 204 ] || die "advice: $(cat headers)"
reset

# What it asks for is kept, and selectors know it; so do nodes that remember it.
asks() { # peer options
	curl -sS --cacert keys/tls.crt -X POST -H 'Accept: */*' -H 'Content-Type: application/teep+cbor' --data-binary @empty -o o \
	    "https://localhost:$port/tam/default/final"
	"$peer" --agent 0 --tc "$draft_component=8cf71ac86af31be184ec7a05a411a8c3a14fd9b77a30d046397481469468ece8" "$@" query-response o a
	curl -sS --cacert keys/tls.crt -X POST -H 'Accept: */*' -H 'Content-Type: application/teep+cbor' --data-binary @a \
	    -o u -w '%{http_code}' "https://localhost:$port/tam/default/final"
}
wanted() { "$tamctl" -o name device list 'selector=requested("vendor/want")'; }
[ "$(asks)" = 204 ] || die "asked for nothing"
[ -z "$(wanted)" ] || die "asked: $(wanted)"
for _ in 1 2; do
	[ "$(asks --request vendor/want)" = 204 ] || die "asked for it"
	[ "$(wanted)" = "$name" ] || die "asked: $(wanted)"
done
"$tamctl" -o json device explain "$name" | tr -d ' \n' >explain.json
grep -q '"requested":\["vendor/want"\]' explain.json || die "explain: $(cat explain.json)"
echo '{"selector": "requested(\"vendor/want\")", "components": [{"component": "vendor/none", "state": "absent"}], "poll_interval_s": 77}' >want.json
"$tamctl" -o json policy dry-run want want.json | tr -d ' \n' | grep -q '"considered":1,' || die "dry run of who asks"
"$tamctl" policy put want want.json >/dev/null
settle
[ "$(asks --request vendor/want)" = 204 ] || die "asked for it"
"$tamctl" -o json device explain "$name" | tr -d ' \n' | grep -q '"poll_interval_s":77' || die "who asks has the policy"
for _ in 1 2; do
	[ "$(asks)" = 204 ] || die "asked for nothing"
	[ -z "$(wanted)" ] || die "asked: $(wanted)"
done
"$tamctl" policy delete want >/dev/null
settle
reset

# --- agents that play
uri=/tam/default/final=final
for code in 3 4 5 7; do play updated $uri --play error=$code; done
for code in 1 2 6 8 9 10 42 139296; do
	was=$(count query_errors)
	play quiet $uri --play error=$code
	[ "$(count query_errors)" = $((was + 4)) ] || die "Error $code is not counted"
	[ "$(sql 'SELECT count(*) FROM outstanding_update')" = 0 ] || die "Error $code: an Update"
done
play updated $uri --play no-kid
play updated $uri --play unsolicited
play updated $uri --play duplicate
play updated $uri --play replay
play updated $uri --play extra=100
play updated $uri --play slow=1200
was=$(get "$admin_1" /metrics | awk '$1 == "tam_messages_dropped_total{reason=\"too_large\"}" { print $2 }')
play http_error $uri --play extra=300 # 413: not kept, and no use to try again
now=$(get "$admin_1" /metrics | awk '$1 == "tam_messages_dropped_total{reason=\"too_large\"}" { print $2 }')
[ "$now" = $((${was:-0} + 4)) ] || die "too large an inventory is not counted"
for section in 16 20 7; do
	play manifest_failed $uri --play fail-section=$section
	[ "$(sql "SELECT count(*) FROM outstanding_update WHERE NOT success AND err_code = 11
		AND err_detail LIKE '%section=$section %reason=10%'")" = 4 ] || die "section $section: $(sql 'SELECT err_code, err_detail FROM outstanding_update')"
done
# Reports as they travel: signed, encrypted, both; read all the same.
"$tamctl" suit keygen --curve p256 --key report.pem --public report.pub
for k in p256 x25519; do openssl pkey -in keys/default-agree-$k.pem -pubout -out agree-$k.pub; done
for how in '--report-key report.pem' '--report-to agree-p256.pub' '--report-key report.pem --report-to agree-x25519.pub'; do
	# shellcheck disable=SC2086  # lists of options
	play manifest_failed $uri --play fail-section=20 $how
	[ "$(sql "SELECT count(*) FROM outstanding_update WHERE err_detail LIKE '%section=20 %reason=10%'")" = 4 ] ||
		die "$how: $(sql 'SELECT err_detail FROM outstanding_update')"
done

# A component on request: asked for, then not needed.
"$tamctl" suit create --key keys/signer.pem --component vendor/extra --sequence 1 --vendor "$vendor" --class "$class_id" \
    --payload "$top/README.md" --out extra.suit
extra=$("$tamctl" -o name manifest upload extra.suit)
echo "{\"components\": [{\"manifest\": \"$extra\", \"state\": \"on-request\"}]}" >extra.json
"$tamctl" policy put extra extra.json >/dev/null
settle
play updated $uri --signer keys/signer.pub --request vendor/extra --expect vendor/extra
play updated $uri --signer keys/signer.pub --request vendor/extra --rounds 2 --absent vendor/extra
play updated $uri --signer keys/signer.pub --absent vendor/extra
# Who has the binary gets the manifest only: without the binary it fails.
play manifest_failed $uri --signer keys/signer.pub --request vendor/extra --have-binary 1
play updated $uri --signer keys/signer.pub --request vendor/extra --have-binary 1 --payload "#payload=$top/README.md" \
    --expect vendor/extra
"$tamctl" policy delete extra >/dev/null

# A payload that is integrated and has a URI travels with the manifest to who
# takes as much, and is fetched by who does not: here, where there is nothing.
head -c 5000 /dev/zero >five
"$tamctl" suit create --key keys/signer.pem --component vendor/five --sequence 1 --vendor "$vendor" --class "$class_id" \
    --payload five --uri https://example.org/five --integrate --out five.suit
five=$("$tamctl" -o name manifest upload five.suit)
echo "{\"components\": [{\"manifest\": \"$five\"}]}" >five.json
"$tamctl" policy put five five.json >/dev/null
settle
play updated $uri --signer keys/signer.pub --expect vendor/five
limit() {
	for i in 0 1 2 3; do "$tamctl" device set p-00000$i "update_bytes=$1" >/dev/null || die "limit $1"; done
}
limit 2048
[ "$(sql 'SELECT count(*) FROM device WHERE update_bytes = 2048')" = 4 ] || die "limits"
play manifest_failed $uri --signer keys/signer.pub
play updated $uri --signer keys/signer.pub --payload https://example.org/five=five --expect vendor/five
limit 0
play updated $uri --signer keys/signer.pub --expect vendor/five
for bad in 1 511 16777217 -1; do
	if "$tamctl" device set p-000000 update_bytes=$bad 2>bad.err; then die "limit $bad"; fi
	grep -q update_bytes bad.err || die "limit $bad: $(cat bad.err)"
done
"$tamctl" policy delete five >/dev/null

kill "$verifierd"
verifierd=

# A manifest that brings the one it depends on, and one encrypted to the
# devices: installed with all they bring; a revocation of what the dependency
# brings reaches the dependent.
"$tamctl" suit create --key keys/signer.pem --component vendor/lib --sequence 1 --vendor "$vendor" --class "$class_id" \
    --payload "$top/README.md" --out lib.suit
"$tamctl" suit create --key keys/signer.pem --component vendor/app --sequence 1 --vendor "$vendor" --class "$class_id" \
    --payload "$top/CHANGES.md" --dependency lib.suit --out app.suit
openssl genpkey -algorithm X25519 -out device.pem 2>/dev/null
openssl pkey -in device.pem -pubout -out device.pub
echo 'a secret of this device' >secret
digests=$draft_digest
digests="$digests $("$tamctl" -o name manifest upload app.suit)"
for alg in ctr gcm chacha; do
	"$tamctl" suit create --key keys/signer.pem --component "vendor/secret-$alg" --sequence 1 --vendor "$vendor" \
	    --class "$class_id" --payload secret --encrypt-to device.pub --encrypt $alg --out secret.suit
	if grep -q 'a secret' secret.suit; then die "$alg: not encrypted"; fi
	digests="$digests $("$tamctl" -o name manifest upload secret.suit)"
	"$tamctl" -o json manifest get "${digests##* }" >secret.json
	case $alg in gcm) name=A128GCM ;; ctr) name=A128CTR ;; *) name=ChaCha20 ;; esac
	grep -q "$name" secret.json || die "$alg: the profile is not kept: $(cat secret.json)"
	tr -d ' \n' <secret.json | grep -Eq '"recipients":\["[0-9a-f]{64}"\]' || die "$alg: for whom is not kept: $(cat secret.json)"
done
# shellcheck disable=SC2086  # a list
put_policy base $digests
settle
fleet_of=(--signer keys/signer.pub --device-key device.pem)
play updated $uri "${fleet_of[@]}" --expect vendor/app --expect vendor/lib --expect vendor/secret-ctr \
    --expect vendor/secret-gcm --expect vendor/secret-chacha
play manifest_failed $uri --signer keys/signer.pub # without the key nothing opens
reset
"$tamfleet" run --server "localhost:$port" --ca keys/tls.crt --tam-key keys/tam-p256.pub --tam-key keys/tam-ed25519.pub \
    --signer "$top/tests/vectors/keys/suit_examples_p256_public.pem" "${fleet_of[@]}" \
    --vendor-id "$vendor" --class-id "$class_id" --agents 4 --keys p256 \
    --payload "$draft_uri=$top/tests/vectors/teep-suit/8d82573a-926d-4754-9353-32dc29997f74.ta" \
    --uri $uri --rounds 0 --interval 0.3 --duration 4 --absent vendor/lib --absent vendor/app \
    --expect vendor/secret-gcm >fleet.out 2>&1 &
agents=$!
sleep 1.5
"$tamctl" revocation create component=vendor/lib reason=test >/dev/null
wait $agents || die "a revoked dependency stays: $(cat fleet.out)"
if "$tamctl" manifest upload app.suit 2>/dev/null; then die "what brings a revoked component was uploaded"; fi
stop_node 1
