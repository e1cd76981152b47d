#include "config.h"

#include "lib/codec/appraisal.h"

#include <jansson.h>
#include <string.h>

enum tam_err
appraisal_decode(struct slice json, struct arena *arena, struct appraisal *out)
{
	static const char *const names[] = {[APPRAISAL_WAITING] = "waiting",
	    [APPRAISAL_PROCESSING] = "processing",
	    [APPRAISAL_COMPLETE] = "complete",
	    [APPRAISAL_FAILED] = "failed"};
	json_t *doc = json_loadb((const char *)json.p, json.n,
	    JSON_REJECT_DUPLICATES, NULL);
	const char *status = json_string_value(json_object_get(doc, "status"));
	const char *result = json_string_value(json_object_get(doc, "result"));
	enum tam_err err = TAM_ATTEST_SYNTAX;

	if (status == NULL) /* the documentation's name for it */
		status = json_string_value(json_object_get(doc, "state"));
	*out = (struct appraisal){0};
	for (int i = 0; status != NULL && i <= APPRAISAL_FAILED; i++) {
		if (strcmp(status, names[i]) != 0)
			continue;
		out->status = (enum appraisal_status)i;
		err = TAM_OK;
	}
	if (err == TAM_OK && result != NULL)
		out->result = arena_dup(arena, slice_str(result));
	if (out->status == APPRAISAL_COMPLETE && out->result.n == 0)
		err = TAM_ATTEST_SYNTAX;
	json_decref(doc);
	return err;
}
