#include "config.h"

#include "server/epoch_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/durable_file.h"
#include "lib/base/hex.h"
#include "lib/base/mem.h"

enum {
	LINE_MAX_BYTES = 256,
	FILE_MAX_BYTES = 1 << 20
};

/* --- lists ------------------------------------------------------------------- */

void
epoch_list_free(struct epoch_list *l)
{
	free(l->of);
	*l = (struct epoch_list){0};
}

void
epoch_list_copy(struct epoch_list *to, const struct epoch_list *from)
{
	free(to->of);
	to->n = from->n;
	to->of = mem_new_n(from->n + 1, struct served_epoch);
	if (from->n > 0)
		memcpy(to->of, from->of, from->n * sizeof(*from->of));
}

bool
epoch_list_same(const struct epoch_list *a, const struct epoch_list *b)
{
	for (size_t i = 0; a->n == b->n && i < a->n; i++) {
		if (a->of[i].domain_id != b->of[i].domain_id ||
		    a->of[i].incarnation != b->of[i].incarnation ||
		    a->of[i].epoch != b->of[i].epoch)
			return false;
	}
	return a->n == b->n;
}

const struct served_epoch *
epoch_list_find(const struct epoch_list *l, int32_t domain_id)
{
	for (size_t i = 0; i < l->n; i++) {
		if (l->of[i].domain_id == domain_id)
			return &l->of[i];
	}
	return NULL;
}

/* --- the file ------------------------------------------------------------------ */

static bool
path_of(const char *state_dir, const char *name, char out[DURABLE_PATH_MAX])
{
	int n = snprintf(out, DURABLE_PATH_MAX, "%s/%s", state_dir, name);

	return n > 0 && n < DURABLE_PATH_MAX;
}

static bool
parse_line(const char *line, struct served_epoch *e)
{
	char hash[2 * EPOCH_HASH_SIZE + 1] = "";
	long long incarnation, epoch, seq = 0;
	size_t n = 0;
	int domain;
	int got = sscanf(line, "%d %lld %lld %lld %64[0-9a-f]", &domain,
	    &incarnation, &epoch, &seq, hash);

	if (got < 3 || strchr(line, '\n') == NULL)
		return false;
	*e = (struct served_epoch){.domain_id = domain,
	    .incarnation = incarnation,
	    .epoch = epoch,
	    .audit_seq = got == 5 ? seq : 0};
	return got != 5 ||
	    (hex_decode(hash, strlen(hash), e->audit_hash, EPOCH_HASH_SIZE,
	         &n) &&
	        n == EPOCH_HASH_SIZE);
}

static enum tam_err
read_lines(FILE *f, struct epoch_list *out)
{
	char line[LINE_MAX_BYTES];

	while (fgets(line, sizeof(line), f) != NULL) {
		out->of = mem_realloc(out->of, (out->n + 1) * sizeof(*out->of));
		if (!parse_line(line, &out->of[out->n])) {
			errno = EILSEQ;
			return TAM_BAD_FILE;
		}
		out->n++;
	}
	return ferror(f) ? TAM_BAD_FILE : TAM_OK;
}

enum tam_err
epoch_file_read(const char *state_dir, const char *name, struct epoch_list *out)
{
	char path[DURABLE_PATH_MAX];
	enum tam_err err;
	FILE *f;

	*out = (struct epoch_list){0};
	if (!path_of(state_dir, name, path))
		return TAM_BAD_FILE;
	f = fopen(path, "re");
	if (f == NULL)
		return errno == ENOENT ? TAM_OK : TAM_BAD_FILE;
	err = read_lines(f, out);
	(void)fclose(f);
	if (err != TAM_OK)
		epoch_list_free(out);
	return err;
}

static void
write_line(const struct served_epoch *e, struct buf *out)
{
	char hash[2 * EPOCH_HASH_SIZE + 1] = "";

	buf_printf(out, "%d %lld %lld", e->domain_id, (long long)e->incarnation,
	    (long long)e->epoch);
	if (e->audit_seq > 0) {
		hex_encode(SLICE_OF(e->audit_hash), hash);
		buf_printf(out, " %lld %s", (long long)e->audit_seq, hash);
	}
	buf_add_str(out, "\n");
}

enum tam_err
epoch_file_write(const char *state_dir, const char *name,
    const struct epoch_list *l)
{
	char path[DURABLE_PATH_MAX];
	enum tam_err err = TAM_BAD_FILE;
	struct buf text;

	buf_init(&text, FILE_MAX_BYTES);
	for (size_t i = 0; i < l->n; i++)
		write_line(&l->of[i], &text);
	if (text.full || !path_of(state_dir, name, path))
		errno = EFBIG;
	else
		err = durable_file_write(path, buf_slice(&text));
	buf_fini(&text);
	return err;
}

enum tam_err
epoch_file_remove(const char *state_dir, const char *name)
{
	char path[DURABLE_PATH_MAX];

	if (!path_of(state_dir, name, path))
		return TAM_BAD_FILE;
	if (unlink(path) != 0)
		return errno == ENOENT ? TAM_OK : TAM_BAD_FILE;
	return durable_file_sync_directory(path);
}
