#!/bin/bash
# tamctl against servers that answer wrongly, and what it does with what it is
# told: every exit status of tamctl(1) that needs no database.
set -euo pipefail
work=$build/tests/work/test_tools
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

rm -rf "$work"
mkdir -p "$work/keys"
cd "$work"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -keyout keys/tls.key -out keys/tls.crt \
    -subj /CN=localhost -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1' 2>/dev/null
(umask 077; echo tam_token >keys/token)
"$build/tests/support/hostile" keys/tls.crt keys/tls.key >ports &
try_for 30 test -s ports || die "no hostile server"
read -r port mute ipv6 <ports
export TAMCTL_SERVER=127.0.0.1:$port TAMCTL_TOKEN_FILE=$work/keys/token TAMCTL_CA=$work/keys/tls.crt TAMCTL_TIMEOUT=60

failed=0
# gives STATUS TEXT COMMAND...: its exit status, and a text on standard error
# ("" for silence).  Nothing may take longer than two minutes.
gives() {
	local wanted=$1 text=$2 status=0
	shift 2
	timeout -k 1 120 "$@" >out 2>err || status=$?
	if [ $status != "$wanted" ] || { [ -z "$text" ] && [ -s err ]; } || ! grep -q -e "$text" <<<"$(cat err)"; then
		echo "$*: status $status, not $wanted with '$text': $(head -c 1000 err)" >&2
		failed=1
	fi
}
ask() { # STATUS TEXT ANSWER [OPTION...]
	local status=$1 text=$2 name=$3
	shift 3
	gives "$status" "$text" "$tamctl" "$@" device get "$name"
}

# --- answers ---------------------------------------------------------------------------
for good in good chunked interim; do
	ask 0 '' $good -o json
	[ "$(cat out)" = '{"name":"x"}' ] || die "$good: $(cat out)"
done
ask 0 '' text
[ "$(cat out)" = hello ] || die "text: $(cat out)"
ask 0 '' empty
# Cut, or not HTTP: nothing is printed, and it is not known whether it was done.
for cut in cut-at-once cut-in-head cut-before-body cut-by-close cut-by-fin cut-until-fin until-close two-lengths cut-chunk cut-chunks bad-chunk \
    bad-length http09 bad-status; do
	ask 4 'no whole answer came' $cut
	[ ! -s out ] || die "$cut: printed $(cat out)"
	ask 4 'no whole answer came' $cut -o json
	[ ! -s out ] || die "$cut: printed $(cat out)"
done
# As tamd never answers.
ask 4 'the server answered 299' status-299
ask 4 'the server answered 302' redirect
for bad in not-json twice bad-utf8 nul deep; do
	for form in table json csv name; do
		ask 4 'not JSON' $bad -o $form
		[ ! -s out ] || die "$bad: printed $(cat out)"
	done
done
ask 1 '502: the answer does not say why' html
ask 1 'no such answer' nothing
# Without end: each has its limit.
ask 4 'header of the answer is larger' endless-head
ask 4 'header of the answer is larger' endless-interim
ask 4 . long-line
ask 4 'the answer is larger' huge
ask 4 'the answer is larger' huge-chunks
for slow in silent stall drip drip-head; do
	ask 4 'Operation timed out\|Operation too slow' $slow -T 1
done
# What cannot be reached: nothing was sent.
gives 3 'cannot be reached' "$tamctl" -T 1 -s "127.0.0.1:$mute" device get good
gives 3 'cannot be reached' "$tamctl" -s 127.0.0.1:1 device get good
gives 3 'cannot be reached' env -u TAMCTL_CA "$tamctl" device get good
gives 3 'cannot be reached' "$tamctl" -s "[::ffff:127.0.0.1]:$port" device get good
gives 2 'CA file cannot be read' "$tamctl" -C nowhere device get good
# Waiting ends with its deadline, whatever the server does.
for slow in 'silent' 'drip' 'drip-head'; do
	gives 7 . "$tamctl" rollout wait $slow deadline=1
done
gives 7 'the deadline passed\|cannot be reached' "$tamctl" -s "127.0.0.1:$mute" rollout wait x deadline=1
gives 4 'not a rollout' "$tamctl" rollout wait good deadline=1
gives 2 'deadline must be whole seconds' "$tamctl" rollout wait good deadline=abc
gives 2 'deadline must be whole seconds' "$tamctl" rollout wait good deadline=1e3
gives 2 usage "$tamctl" revocation wait 1 --for ever

# --- again --------------------------------------------------------------------------------
echo '{}' >document.json
gives 0 '' "$tamctl" policy put race document.json
gives 0 '' "$tamctl" policy put race document.json
gives 1 try_again "$tamctl" policy put always-race document.json
ask 0 '' busy
# A busy server is not asked again to change something: it may have been done.
gives 1 503 "$tamctl" policy put busy document.json
gives 0 '' "$tamctl" policy put busy document.json

# --- two persons ------------------------------------------------------------------------
gives 6 'waits for a second person: tamctl proposal approve 7$' "$tamctl" trust-anchor delete proposal
grep -q pending out || die "a proposal: $(cat out)"

# --- lists and parts ------------------------------------------------------------------------
gives 4 'does not go on' "$tamctl" rollout list
gives 4 'does not go on' "$tamctl" -o json rollout list
gives 0 'there are more: go on with cursor=AAAA, or list all with limit=all' "$tamctl" -o name rollout list limit=1
[ "$(cat out)" = x ] || die "a page: $(cat out)"
gives 4 'does not go on' "$tamctl" channel list
gives 4 'no list' "$tamctl" policy list
gives 4 'does not go on' "$tamctl" device approve one reason=test
printf '{"name":"a"}\n{"name":"b"}\n' >two.ndjson
gives 4 'does not have a result for each line' "$tamctl" device import two.ndjson
grep -q 'whether those up to 2 were taken is not known' err || die "import: $(cat err)"
printf '{"name":"a"}\n\n' >one.ndjson
gives 0 '' "$tamctl" device import one.ndjson

# --- where the server is ------------------------------------------------------------------------
for server in "localhost:$port" "https://localhost:$port" "https://127.0.0.1:$port/"; do
	gives 0 '' "$tamctl" -s "$server" device get good
done
if [ "$ipv6" = ipv6 ]; then
	for server in "[::1]:$port" "https://[::1]:$port"; do gives 0 '' "$tamctl" -s "$server" device get good; done
else
	gives 3 '\[::1\]' "$tamctl" -s "[::1]:$port" device get good
fi
gives 3 'https://\[::1\]:8444: cannot be reached\|was done' "$tamctl" -s ::1 -T 1 device get good
for server in http://localhost ftp://localhost 'https://user@localhost' localhost:x localhost:99999 https://localhost/path 'a b' '' \
    'localhost?x=1'; do
	gives 2 'the server must be' "$tamctl" -s "$server" device get good
done

# --- terminals -----------------------------------------------------------------------------------
esc=$(printf '\033')
ask 0 '' control
grep -qF 'a\u{202e}\u{1b}[31mb\u{a}c\u{9b}' out || die "table: $(cat -v out)"
ask 0 '' control -o json
grep -qF '"a\u202e\u001b[31mb\nc\u009b"' out || die "json: $(cat -v out)"
ask 1 'a\\u{1b}\[2Jb\\u{202e}, not here' problem
if grep -q "$esc" err; then die "a problem steered the terminal"; fi

# --- standard output ----------------------------------------------------------------------------
# full STATUS COMMAND...: what cannot be written is no success.
full() {
	local wanted=$1 status=0
	shift
	"$@" >/dev/full 2>err || status=$?
	[ $status = "$wanted" ] && grep -q 'standard output cannot be written' err || die "$*: status $status, not $wanted: $(cat err)"
	status=0
	"$@" >&- 2>err || status=$?
	[ $status = "$wanted" ] && grep -q 'standard output cannot be written' err || die "$* >&-: status $status, not $wanted: $(cat err)"
}
for form in table json csv name; do
	full 5 "$tamctl" -o $form device get good
	full 5 "$tamctl" -o $form rollout list limit=1
	full 5 "$tamctl" -o $form device import one.ndjson
done
full 5 "$tamctl" device get text
full 6 "$tamctl" trust-anchor delete proposal
full 5 "$tamctl" -h
full 5 "$tamctl" completion bash
full 5 "$tamctl" completion zsh
"$tamctl" suit keygen --curve p256 --key signer.pem --public signer.pub
printf 'text' >payload
create=("$tamctl" suit create --key signer.pem --component a/b --vendor example.com --class c --payload payload --out a.suit)
"${create[@]}" --sequence 1
full 5 "$tamctl" inspect --key signer.pub a.suit
full 5 "$tamctl" inspect -o diag --key signer.pub a.suit

# --- inspect names what it does not support -----------------------------------------
openssl ecparam -name secp384r1 -genkey -noout 2>/dev/null | openssl pkey -pubout -out p384.pub
openssl genpkey -algorithm ed448 -out ed448.pem 2>/dev/null
echo '{"kty":"EC","crv":"P-521","x":"AA","y":"AA"}' >p521.jwk
printf '\xa4\x01\x02\x20\x08\x21\x41\x00\x22\x41\x00' >k1.cosekey # {1: 2, -1: 8, -2: h'00', -3: h'00'}
gives 2 'p384.pub: is a key of secp384r1, which is not supported' "$tamctl" inspect --key p384.pub a.suit
gives 2 'is a key of ED448, which is not supported' "$tamctl" inspect --key ed448.pem a.suit
gives 2 'is a key of P-521, which is not supported' "$tamctl" inspect --key p521.jwk a.suit
gives 2 'is a key of secp256k1, which is not supported' "$tamctl" inspect --key k1.cosekey a.suit
gives 2 'payload: is not a key' "$tamctl" inspect --key payload a.suit
printf '\xd1\x84\x43\xa1\x01\x05\xa0\x43foo\x41\x00' >mac0 # 17([h'a10105', {}, 'foo', h'00'])
gives 1 '' "$tamctl" inspect mac0
grep -q COSE_Mac0 out && ! grep -q suit-report out || die "a MAC: $(cat out)"

# --- numbers -----------------------------------------------------------------------------------------
rm a.suit
for bad in abc 1e3 '' ' 1' 1x -1 0x10 9223372036854775808 18446744073709551616; do
	gives 2 'sequence must be a whole number' "${create[@]}" --sequence "$bad"
	[ ! -e a.suit ] || die "sequence '$bad' was signed"
done
gives 0 '' "${create[@]}" --sequence 9223372036854775807
for bad in abc 1e3 '' 0 -5 99999999999999999999; do
	gives 2 usage "$tamctl" inspect --now "$bad" a.suit
	gives 2 usage "$tamctl" revocation-list publish --database x --key signer.pem --out y --life "$bad"
	gives 2 'time-out must be' "$tamctl" -T "$bad" device get good
done
for bad in abc 1e3 4294967296 ' 1' 0; do
	gives 2 'agents wants a whole number' "$tamfleet" keys --agents "$bad"
done

# --- what is asked for -----------------------------------------------------------------------------
query() { # TEXT ARGUMENT...
	local text=$1
	shift
	gives 2 "$text" "$tamctl" "$@"
}
query "no query parameter 'dry-run'; did you mean 'dry_run'" policy delete good dry-run=true
query "no query parameter 'selecter'; did you mean 'selector'" device list selecter=
query "no query parameter 'selecter'" -q selecter=x device list
query 'limit: must be a whole number' device list limit=abc
query 'limit: must be a whole number' -q limit=1e3 device list
query 'dry_run: must be true or false' policy delete good dry_run=yes
query 'must be NAME=VALUE' policy delete good true
query "no field 'reson'; did you mean 'reason'" rollout start good reson=x
query 'reason= is missing' rollout start good
query 'reason: is given twice' rollout start good reason=x reason=y
query 'deadline_s: must be a whole number' revocation create component=a reason=x deadline_s=1e3
query 'prefixes: must be a JSON array' trust-anchor put good public_key=x prefixes=a
query usage device get
gives 0 '' "$tamctl" -q dry_run=true policy delete good
# A text that begins with @ is written with two.
query 'itself is written @@home' rollout start good reason=@home
gives 0 '' "$tamctl" trust-anchor put echo public_key=@@home
grep -q '@home$' out || die "sent: $(cat out)"
# --- secrets -------------------------------------------------------------------------------------------
query 'signer.pem: is a private key; it was not sent' trust-anchor put good public_key=@signer.pem
query 'is a private key; it was not sent' trust-anchor put good "public_key=$(cat signer.pem)"
query 'has a private key in it; it was not sent' policy put good signer.pem
printf '{"name":"a","key":{"kty":"OKP","crv":"Ed25519","x":"a","d":"b"}}\n' >private.ndjson
gives 1 'line 1 has a private key; it was not sent' "$tamctl" device import private.ndjson
for mode in 604 640 620 644 666; do
	chmod $mode keys/token
	status=2
	[ $mode != 640 ] || status=0
	text=
	[ $mode = 640 ] || text="has mode 0$mode"
	gives $status "$text" "$tamctl" device get good
done
chmod 600 keys/token
printf 'tam_a\nx-evil: 1\n' >keys/lines
chmod 600 keys/lines
query 'more than one line' -t keys/lines device get good
: >keys/empty
chmod 600 keys/empty
query . -t keys/empty device get good
query . -t nowhere device get good
gives 0 '' "$tamctl" -t - device get good <keys/token
chmod 644 signer.pem
gives 1 'has mode 0644' "${create[@]}" --sequence 1
chmod 600 signer.pem

# --- files of devices ------------------------------------------------------------------------------------
csv() { # STATUS TEXT CONTENT
	printf '%b' "$3" >devices.csv
	gives "$1" "$2" "$tamctl" device import devices.csv
}
csv 0 '' 'name,key\r\na,{}\r\n'
csv 0 '' '\xef\xbb\xbfname,key\r\na,{}\r\n'
csv 0 '' 'name,labels.site,key\na,x,{}\n'
csv 2 "no column 'nmae' is known; did you mean 'name'" 'nmae,key\na,{}\n'
csv 2 "no column 'Name' is known; did you mean 'name'" 'Name,key\na,{}\n'
csv 2 "no column 'serial' is known$" 'name,key,serial\na,{},1\n'
csv 2 "no column 'labels.' is known" 'labels.,key\na,{}\n'
csv 2 "column 'name' is there twice" 'name,name,key\na,b,{}\n'
csv 2 "column 'key' is missing" 'name,class\na,b\n'
csv 2 'is not UTF-8' '\xef-name,key\na,{}\n'
csv 2 'first row must name the columns' ''
gives 1 'cannot be read further' "$tamctl" device import .

[ $failed = 0 ] || die "see above"
