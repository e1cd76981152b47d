#include "config.h"

#include "storage/migrate.h"

#include <dirent.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/base/hex.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "storage/sql.h"

enum {
	FILES_MAX = 9999,
	SCRIPT_MAX = 4 << 20
};

/* Any number will do, as long as every release uses this one. */
#define LOCK_ID "7405216301"

struct file {
	int version;
	char name[128];
	char sha256[65];
	struct buf text;
};

struct files {
	struct file *v;
	size_t n;
};

static void
files_fini(struct files *f)
{
	for (size_t i = 0; i < f->n; i++)
		buf_fini(&f->v[i].text);
	free(f->v);
}

static int
by_version(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	return x->version - y->version;
}

static bool
read_file(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "rb");
	char chunk[8192];
	size_t n;
	bool ok;

	if (f == NULL)
		return false;
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_add(out, chunk, n);
	ok = ferror(f) == 0 && !out->full;
	return fclose(f) == 0 && ok;
}

static bool
add_file(struct files *files, const char *dir, const char *name)
{
	struct file *f;
	char path[512];
	uint8_t digest[32];
	char *end;
	long version = strtol(name, &end, 10);

	if (end != name + 4 || *end != '_' || version < 1 || strlen(name) < 9 ||
	    strcmp(name + strlen(name) - 4, ".sql") != 0)
		return true; /* not a migration */
	files->v = mem_realloc(files->v, (files->n + 1) * sizeof(*files->v));
	f = &files->v[files->n++];
	*f = (struct file){.version = (int)version};
	(void)snprintf(f->name, sizeof(f->name), "%s", name);
	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	buf_init(&f->text, SCRIPT_MAX);
	if (!read_file(path, &f->text))
		return false;
	if (EVP_Digest(f->text.p, f->text.n, digest, NULL, EVP_sha256(),
	        NULL) != 1)
		abort();
	hex_encode(SLICE_OF(digest), f->sha256);
	return true;
}

static enum tam_err
files_read(const char *dir, struct files *files)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	bool ok = true;

	*files = (struct files){0};
	if (d == NULL) {
		log_error("migrations_unreadable", "dir=%s", dir);
		return TAM_BAD_FILE;
	}
	/* cppcheck-suppress readdirCalled ; the stream is ours alone */
	while (ok && (entry = readdir(d)) != NULL)
		ok = add_file(files, dir, entry->d_name);
	(void)closedir(d);
	if (!ok || files->n == 0 || files->n > FILES_MAX) {
		log_error("migrations_unreadable", "dir=%s", dir);
		files_fini(files);
		return TAM_BAD_FILE;
	}
	qsort(files->v, files->n, sizeof(files->v[0]), by_version);
	return TAM_OK;
}

static enum tam_err
applied(struct sql *sql, struct sql_result **out)
{
	enum tam_err err = sql_script(sql,
	    "CREATE TABLE IF NOT EXISTS schema_migration ("
	    "version integer PRIMARY KEY, name text NOT NULL, "
	    "sha256 text NOT NULL, "
	    "applied_at timestamptz NOT NULL DEFAULT clock_timestamp())");

	if (err != TAM_OK)
		return err;
	return SQL_EXEC(sql, out,
	    "SELECT version, name, sha256 FROM schema_migration "
	    "WHERE version >= $1::int ORDER BY version",
	    "0");
}

static enum migrate_state
state_of(const struct file *f, const struct sql_result *rows)
{
	for (size_t r = 0; r < sql_rows(rows); r++) {
		if (sql_int(rows, r, 0) != f->version)
			continue;
		return strcmp(sql_text(rows, r, 2), f->sha256) == 0
		    ? MIGRATE_APPLIED
		    : MIGRATE_CHANGED;
	}
	return MIGRATE_PENDING;
}

static bool
has_file(const struct files *files, int64_t version)
{
	for (size_t i = 0; i < files->n; i++) {
		if (files->v[i].version == version)
			return true;
	}
	return false;
}

enum tam_err
migrate_list(struct sql *sql, const char *dir, migrate_cb cb, void *arg)
{
	struct files files;
	struct sql_result *rows = NULL;
	enum tam_err err;

	err = files_read(dir, &files);
	if (err != TAM_OK)
		return err;
	err = applied(sql, &rows);
	for (size_t i = 0; err == TAM_OK && i < files.n; i++)
		cb(files.v[i].version, files.v[i].name,
		    state_of(&files.v[i], rows), arg);
	for (size_t r = 0; err == TAM_OK && r < sql_rows(rows); r++) {
		if (!has_file(&files, sql_int(rows, r, 0)))
			cb((int)sql_int(rows, r, 0), sql_text(rows, r, 1),
			    MIGRATE_MISSING, arg);
	}
	sql_result_free(rows);
	files_fini(&files);
	return err;
}

static enum tam_err
apply_one(struct sql *sql, const struct file *f)
{
	struct buf script;
	enum tam_err err;

	buf_init(&script, SCRIPT_MAX + 1024);
	buf_add_str(&script, "BEGIN; SET LOCAL lock_timeout = '5s';\n");
	buf_add_slice(&script, buf_slice(&f->text));
	buf_printf(&script,
	    "\n;INSERT INTO schema_migration (version, name, sha256) "
	    "VALUES (%d, '%s', '%s'); COMMIT",
	    f->version, f->name, f->sha256);
	err = sql_script(sql, buf_cstr(&script));
	buf_fini(&script);
	if (err != TAM_OK) {
		log_error("migration_failed", "name=%s error=\"%s\"", f->name,
		    sql_error(sql));
		sql_drop(sql); /* the transaction goes with the connection */
	}
	return err;
}

enum tam_err
migrate_apply(struct sql *sql, const char *dir, migrate_cb cb, void *arg)
{
	struct files files;
	struct sql_result *rows = NULL;
	enum tam_err err;

	err = files_read(dir, &files);
	if (err != TAM_OK)
		return err;
	err = sql_script(sql, "SELECT pg_advisory_lock(" LOCK_ID ")");
	if (err == TAM_OK)
		err = applied(sql, &rows);
	for (size_t i = 0; err == TAM_OK && i < files.n; i++) {
		enum migrate_state state = state_of(&files.v[i], rows);

		if (state == MIGRATE_CHANGED) {
			log_error("migration_changed", "name=%s",
			    files.v[i].name);
			err = TAM_CONFLICT;
		} else if (state == MIGRATE_PENDING) {
			err = apply_one(sql, &files.v[i]);
			if (err == TAM_OK)
				cb(files.v[i].version, files.v[i].name, state,
				    arg);
		}
	}
	sql_result_free(rows);
	if (err == TAM_OK)
		err = sql_script(sql, "SELECT pg_advisory_unlock(" LOCK_ID ")");
	files_fini(&files);
	return err;
}

enum tam_err
migrate_version(struct sql *sql, int *version)
{
	struct sql_result *rows;
	enum tam_err err;

	*version = 0;
	err = SQL_EXEC(sql, &rows,
	    "SELECT coalesce(max(version), 0) FROM schema_migration "
	    "WHERE version >= $1::int",
	    "0");
	if (err == TAM_DATABASE_ERROR && strcmp(sql_state(sql), "42P01") == 0)
		return TAM_OK; /* undefined table: nothing was applied yet */
	if (err == TAM_OK)
		*version = (int)sql_int(rows, 0, 0);
	sql_result_free(rows);
	return err;
}
