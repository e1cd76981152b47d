#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "admin/ctl/answer.h"
#include "admin/ctl/ctl.h"
#include "admin/ctl/output.h"
#include "lib/base/terminal.h"

/*
 * An answer of a hostile server, from its bytes to what tamctl prints.  The
 * first byte chooses status and Content-Type.  Besides not failing: what is
 * printed for people holds nothing that a terminal obeys, and what is printed
 * as JSON says what the server said.
 */

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static const int statuses[] = {200, 201, 202, 204, 302, 404, 503, 299};
static const char *const formats[] = {"table", "name", "csv", "json"};

/* Prints into memory, which the caller frees. */
static char *
printed(const char *format, const struct client_answer *a, json_t *doc,
    size_t *n)
{
	static const enum api_route_id routes[] = {API_device_list,
	    API_device_get};
	FILE *saved = stdout;
	char *text = NULL;

	stdout = open_memstream(&text, n);
	if (stdout == NULL)
		abort();
	(void)output_answer(format, &api_routes[routes[a->body.n % 2]],
	    buf_slice(&a->body), doc);
	if (fclose(stdout) != 0)
		abort();
	stdout = saved;
	return text;
}

static void
check_lines(struct slice text)
{
	for (size_t i = 0; i < text.n; i++) {
		size_t begin = i;

		while (i < text.n && text.p[i] != '\n' && text.p[i] != '\t')
			i++;
		if (!terminal_is_safe(
		        (struct slice){text.p + begin, i - begin}))
			abort();
	}
}

static void
check_json(struct slice text, const json_t *doc)
{
	json_t *again = json_loadb((const char *)text.p, text.n,
	    JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);

	if (again == NULL || !json_equal(again, doc))
		abort();
	json_decref(again);
}

static void
print_all(const struct client_answer *a, json_t *doc)
{
	for (size_t f = 0; f < 4; f++) {
		size_t n = 0;
		char *text = printed(formats[f], a, doc, &n);
		struct slice all = {(const uint8_t *)text, n};

		if (f < 2 && json_is_object(doc))
			check_lines(all);
		if (f == 3)
			check_json(all, doc);
		free(text);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct client_answer a = {.status = 200};
	json_t *doc = NULL;
	int status;

	/* libFuzzer keeps the stream that it writes to. */
	if (fileno(stderr) == 2)
		stderr = fopen("/dev/null", "we");
	if (n == 0 || stderr == NULL)
		return 0;
	a.status = statuses[data[0] % 8];
	a.is_json = (data[0] & 8) != 0;
	buf_init(&a.body, 1 << 20);
	buf_add(&a.body, data + 1, n - 1);
	(void)answer_has_code(&a, "try_again");
	status = answer_read(&a, "x", &doc);
	if (status == CTL_OK && doc != NULL)
		print_all(&a, doc);
	json_decref(doc);
	buf_fini(&a.body);
	return 0;
}
