# shellcheck shell=bash
# node.sh - a database, nodes and a fleet for the system tests and the demo.
# Source it, then set build= and work=; everything it makes is below $work.

# shellcheck source=tests/support/cluster.sh
. "$top/tests/support/cluster.sh"

tamd=$build/server/tamd
tamctl=$build/admin/ctl/tamctl
tamfleet=$build/loadtest/tamfleet
vendor=c0ddd5f15243566087db4f5b0aa26c2f
class_id=db42f7093d8c55baa8c5265fc5820f4e
draft_uri=https://example.org/8d82573a-926d-4754-9353-32dc29997f74.ta
draft_component=TEEP-Device/SecureFS/0x8d82573a926d4754935332dc29997f74/ta
draft_digest=b39b52b0b747ea79588c190f567bfc2c8437ba8a73f7ea983182e79f0148d59b
export TSAN_OPTIONS="halt_on_error=1 suppressions=$top/tests/support/tsan.supp"
export ASAN_OPTIONS=detect_leaks=1
export LSAN_OPTIONS="suppressions=$top/tests/support/lsan.supp"

die() {
	echo "FAILED: $*" >&2
	exit 1
}

# Waits until the command succeeds: try_for SECONDS COMMAND...
try_for() {
	local until=$((SECONDS + $1))
	shift
	while ! "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $until ] || return 1
		sleep 0.1
	done
}

# free_port: a port below the kernel's ephemeral ones that nobody listens on.
# Tests run beside each other, also of several build directories: a directory
# per port, made atomically, says that a test has taken it, and which one.
taken=${TMPDIR:-/tmp}/tam-test-ports
free_port() {
	local port owner
	mkdir -p "$taken" && chmod 1777 "$taken"
	while :; do
		port=$((10000 + (RANDOM * 32768 + RANDOM) % 22000))
		if ! mkdir "$taken/$port" 2>/dev/null; then
			owner=$(cat "$taken/$port/pid" 2>/dev/null || echo "$$")
			kill -0 "$owner" 2>/dev/null || rm -rf "${taken:?}/$port"
			continue
		fi
		echo "$$" >"$taken/$port/pid"
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
	done
	echo $port
}

# make_world: a fresh database, its first domain, certificates and keys.
make_world() {
	mkdir -p "$work"
	pg=$(cluster_place "$work" pg)
	cluster_start "$pg" || die "no database"
	db="host=$pg/socket user=tam dbname=tam"
	sql_admin "DROP DATABASE IF EXISTS tam WITH (FORCE)"
	sql_admin "CREATE DATABASE tam"
	rm -rf "$work/keys" "$work"/node*
	mkdir -p "$work/keys"
	TAMCTL_DATABASE=$db "$tamctl" db migrate --migrations "$top/migrations" >"$work/migrate.out" ||
		die "migrations"
	TAMCTL_DATABASE=$db "$tamctl" bootstrap --key-dir "$work/keys" \
	    --master-key "$work/keys/master.key" --token-file "$work/keys/token" 2>"$work/bootstrap.out" ||
		die "bootstrap"
	for k in p256 ed25519; do
		openssl pkey -in "$work/keys/default-$k.pem" -pubout -out "$work/keys/tam-$k.pub" 2>/dev/null
	done
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
	    -keyout "$work/keys/tls.key" -out "$work/keys/tls.crt" -subj /CN=localhost \
	    -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' 2>/dev/null
	chmod 600 "$work/keys/tls.key"
	"$tamctl" suit keygen --curve p256 --key "$work/keys/signer.pem" --public "$work/keys/signer.pub"
	port=$(free_port)
}

sql_admin() {
	psql -X -q -h "$pg/socket" -U tam -d postgres -v ON_ERROR_STOP=1 -c "$1" >/dev/null
}

sql() {
	psql -X -q -A -t -h "$pg/socket" -U tam -d tam -v ON_ERROR_STOP=1 -c "$1"
}

# run_node N [OPTION...]: on $port; its admin port in admin_N, pid in pid_N.
run_node() {
	local n=$1 admin
	shift
	admin=$(free_port)
	mkdir -p "$work/node$n"
	cat >"$work/node$n/tamd.conf" <<END
node_id = "node$n"
listen = "127.0.0.1:$port"
admin_listen = "127.0.0.1:$admin"
tls_certificate = "$work/keys/tls.crt"
tls_key = "$work/keys/tls.key"
database = "$db"
state_dir = "$work/node$n"
master_key = "$work/keys/master.key"
workers = 1
END
	local options=()
	for option in "$@"; do options+=(-o "$option"); done
	TAM_CLOCK=${node_clock:-} "$tamd" -c "$work/node$n/tamd.conf" ${options[@]+"${options[@]}"} >>"$work/node$n/log" 2>&1 &
	eval "pid_$n=$!; admin_$n=$admin"
	[ -n "${TAMCTL_SERVER:-}" ] || export TAMCTL_SERVER=localhost:$admin
	export TAMCTL_TOKEN_FILE=$work/keys/token TAMCTL_CA=$work/keys/tls.crt
}

# lend_memory N M: node M remembers what node N has served; a node that
# remembers nothing does not serve alone.
lend_memory() {
	mkdir -p "$work/node$2"
	cp "$work/node$1/epochs" "$work/node$2/"
}

# start_node N [OPTION...]: the same, and waits until it is ready.
start_node() {
	run_node "$@"
	eval "wait_ready \$admin_$1" || { tail -n 20 "$work/node$1/log" >&2; die "node $1 is not ready"; }
}

get() { # ADMIN-PORT PATH
	curl -sS --cacert "$work/keys/tls.crt" "https://localhost:$1$2"
}

is_ready() {
	[ "$(get "$1" /readyz)" = ok ]
}

wait_ready() {
	try_for 30 is_ready "$1"
}

metric() { # ADMIN-PORT NAME
	get "$1" /metrics | awk -v name="$2" '$1 == name { print $2; found = 1 } END { if (!found) print 0 }'
}

# stop_node N: SIGTERM, and a clean end.
stop_node() {
	local pid status=0
	eval "pid=\$pid_$1"
	kill -TERM "$pid"
	wait "$pid" || status=$?
	[ $status = 0 ] || { tail -n 20 "$work/node$1/log" >&2; die "node $1 ended with $status"; }
	if grep -E '(Address|Leak|Thread)Sanitizer|runtime error' "$work/node$1/log" >&2; then
		die "a sanitizer complained about node $1"
	fi
}

end_world() {
	local place
	grep -lx "$$" "$taken"/*/pid 2>/dev/null | while read -r place; do rm -rf "${place%/pid}"; done || true
	for job in $(jobs -p); do kill -KILL "$job" 2>/dev/null || true; done
	[ -z "${pg:-}" ] || cluster_stop "$pg"
}

# Trusts the two signers, uploads the draft's manifest, and a policy for it.
draft_policy() {
	"$tamctl" trust-anchor put draft \
	    "public_key=@$top/tests/vectors/keys/suit_examples_p256_public.pem" >/dev/null
	"$tamctl" trust-anchor put demo "public_key=@$work/keys/signer.pub" >/dev/null
	"$tamctl" manifest upload "$top/tests/vectors/teep-suit/suit_uri.cbor" >/dev/null
	put_policy base "$draft_digest"
}

# hold_clock: from now on pass_time SECONDS moves the clock of fleets and of
# tamctl, and cluster time.  The clock of a node moves by $node_clock only.
hold_clock() {
	moved=0
	export TAM_CLOCK=$work/clock
	printf '%020d' 0 >"$TAM_CLOCK"
}
pass_time() {
	local nodes
	moved=$((moved + $1))
	set_clock "$TAM_CLOCK" $moved
	nodes=$(sql "SELECT string_agg(quote_literal(node_id), ', ') FROM node_lease WHERE expires_us > cluster_us()")
	# A clock that is ahead of the database's runs slower; this one is to run
	# beside those of the programs.
	sql "CREATE TABLE IF NOT EXISTS clock_jump (real_us bigint, moved_us bigint);
		INSERT INTO clock_jump VALUES (database_us(), ${moved}000000);
		CREATE OR REPLACE FUNCTION cluster_us() RETURNS bigint LANGUAGE sql AS 'SELECT database_us() + ${moved}000000'" >/dev/null 2>&1
	[ -z "$nodes" ] || try_for 6 knows_time "$nodes" || true # a node that died knows nothing
}
# Every one of these nodes has renewed its lease since the time was set.
knows_time() {
	[ "$(sql "SELECT count(*) FROM node_lease WHERE node_id IN ($1) AND expires_us < cluster_us()")" = 0 ]
}
set_clock() { # FILE SECONDS
	[ -f "$1" ] || printf '%020d' 0 >"$1"
	printf '%020d' "$2" | dd of="$1" conv=notrunc status=none
}

# Waits until every node says that it serves the newest epoch.
is_settled() {
	[ "$(sql "SELECT count(*) FROM node_lease l JOIN domain d USING (domain_id) WHERE l.epoch < d.epoch
		AND l.expires_us > cluster_us()")" = 0 ]
}
settle() {
	try_for 30 is_settled || die "the nodes do not serve the newest epoch"
}

# put_policy NAME DIGEST...
put_policy() {
	local name=$1 list=
	shift
	for digest in "$@"; do list="$list${list:+, }{\"manifest\": \"$digest\"}"; done
	echo "{\"selector\": \"class == \\\"cam\\\"\", \"components\": [$list]}" >"$work/policy.json"
	"$tamctl" policy put "$name" "$work/policy.json" >/dev/null
	settle
}

# make_component ID SEQUENCE TEXT [--uri URI]: signs and uploads; prints the digest.
make_component() {
	local id=$1 sequence=$2 text=$3 file
	shift 3
	file=$work/$(echo "$id" | tr / -)
	printf '%s' "$text" >"$file.payload"
	"$tamctl" suit create --key "$work/keys/signer.pem" --component "$id" --sequence "$sequence" \
	    --vendor "$vendor" --class "$class_id" --payload "$file.payload" --out "$file.suit" "$@"
	"$tamctl" -o name manifest upload "$file.suit"
}

# proposed COMMAND...: tamctl says that the request waits for a second person.
proposed() {
	local status=0
	"$@" || status=$?
	[ $status = 6 ] || die "not proposed but $status: $*"
}

enrol() { # AGENTS [tamfleet keys options]
	local n=$1
	shift
	"$tamfleet" keys --agents "$n" "$@" >"$work/keys.ndjson"
	"$tamctl" -o json device import "$work/keys.ndjson" >"$work/import.out" || die "import"
	if grep -v -e '"created"' -e '"updated"' "$work/import.out" >&2; then die "import"; fi
}

# In the background, so that $! is the simulator itself: fleet_exec ... &
fleet_exec() { # tamfleet run options
	exec "$tamfleet" run --server "localhost:$port" --ca "$work/keys/tls.crt" \
	    --tam-key "$work/keys/tam-p256.pub" --tam-key "$work/keys/tam-ed25519.pub" \
	    --signer "$top/tests/vectors/keys/suit_examples_p256_public.pem" \
	    --signer "$work/keys/signer.pub" \
	    --uri /tam/default/final=final --uri /tam/default/legacy=legacy \
	    --vendor-id "$vendor" --class-id "$class_id" \
	    --payload "$draft_uri=$top/tests/vectors/teep-suit/8d82573a-926d-4754-9353-32dc29997f74.ta" \
	    "$@"
}

fleet() {
	(fleet_exec "$@")
}

json_number() { # NAME < json
	tr -d '\n' | sed -n "s/.*\"$1\" *: *\([0-9.]*\).*/\1/p"
}
