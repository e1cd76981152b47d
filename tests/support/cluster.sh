# shellcheck shell=sh
# cluster.sh - a private PostgreSQL on a Unix socket; sourced by ./dev and by
# the system tests.  initdb refuses root, so root runs it as another user.

cluster_bin() {
	for dir in /usr/lib/postgresql/*/bin; do :; done
	if [ ! -x "$dir/initdb" ]; then
		echo "no PostgreSQL server: apt-get install postgresql" >&2
		return 1
	fi
	echo "$dir"
}

cluster_as() {
	if [ "$(id -u)" = 0 ]; then
		runuser -u postgres -- "$@"
	else
		"$@"
	fi
}

# cluster_start DIR: makes the cluster if need be, and starts it.  DIR/socket
# is its host afterwards; the superuser is "tam".
cluster_start() {
	cluster_dir=$1
	cluster_pg=$(cluster_bin) || return 1
	mkdir -p "$cluster_dir"
	if [ "$(id -u)" = 0 ]; then
		chown postgres "$cluster_dir"
	fi
	if [ ! -f "$cluster_dir/data/PG_VERSION" ]; then
		(cd / && cluster_as "$cluster_pg/initdb" -D "$cluster_dir/data" -U tam \
		    -A trust -E UTF8 --no-locale --no-sync >"$cluster_dir.log" 2>&1) || {
			cat "$cluster_dir.log" >&2
			return 1
		}
		cluster_as mkdir -p "$cluster_dir/socket"
	fi
	# No test cuts the machine's power, so fsync may be off; commits still
	# wait for the WAL: synchronous_commit stays on.
	(cd / && cluster_as "$cluster_pg/pg_ctl" -D "$cluster_dir/data" -w -t 60 \
	    -l "$cluster_dir/data/server.log" -o "-k $cluster_dir/socket -c listen_addresses= \
	    -c fsync=off -c max_connections=200 -c max_prepared_transactions=10 -c shared_buffers=128MB \
	    -c checkpoint_timeout=30min -c max_wal_size=4GB" start \
	    >/dev/null 2>&1) || {
		tail -n 20 "$cluster_dir/data/server.log" >&2
		return 1
	}
}

cluster_stop() {
	(cd / && cluster_as "$(cluster_bin)/pg_ctl" -D "$1/data" -m immediate -w stop \
	    >/dev/null 2>&1) || true
}

# A place the database's user can reach, for a cluster of this source tree.
cluster_place() {
	if [ "$(id -u)" != 0 ] || runuser -u postgres -- test -x "$1"; then
		echo "$1/$2"
	else
		echo "${TMPDIR:-/tmp}/tam-$(echo "$1" | cksum | cut -d' ' -f1)-$2"
	fi
}
