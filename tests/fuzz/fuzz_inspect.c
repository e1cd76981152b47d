#include "config.h"

#include <stdlib.h>

#include "admin/ctl/inspect.h"
#include "lib/base/mem.h"

/*
 * tamctl inspect of any bytes, without a key; the first byte chooses options.
 * Besides not failing: what it found out can be printed, and nothing that bears
 * no signature is accepted unless --unsigned says so.
 */

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct inspect *x;
	enum tam_err err;
	char *text;

	if (n == 0)
		return 0;
	x = mem_new(struct inspect);
	x->arena = arena_new_in(NULL);
	x->crypto = cose_crypto_new();
	x->out = json_object();
	x->profile = EAT_TEEP_PROFILE;
	x->now_s = 1;
	x->numbering = (data[0] & 1) != 0 ? TEEP_LEGACY : TEEP_FINAL;
	x->numbering_fixed = (data[0] & 2) != 0;
	x->unsigned_ok = (data[0] & 4) != 0;
	x->upload_checks = (data[0] & 8) != 0;
	err = inspect_bytes(x, (struct slice){data + 1, n - 1});
	text = json_dumps(x->out, JSON_COMPACT);
	if (text == NULL)
		abort();
	if (err == TAM_OK && !x->unsigned_ok &&
	    strstr(text, "\"kind\":\"teep-message\"") != NULL)
		abort();
	free(text);
	json_decref(x->out);
	cose_crypto_free(x->crypto);
	arena_free(x->arena);
	free(x);
	return 0;
}
