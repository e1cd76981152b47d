#include "config.h"

#include <stdio.h>
#include <string.h>

#include "admin/ctl/ctl.h"
#include "admin/table.h"

/*
 * tamctl completion bash|zsh: what may stand where, from the API's table.
 * One function serves both shells; zsh runs it by bashcompinit.
 */

static const char *const local[][2] = {{"db",
                                           "status plan migrate verify "
                                           "accept-restore"},
    {"audit", "verify retain"}, {"revocation-list", "publish show"},
    {"suspend", ""}, {"resume", ""}, {"bootstrap", ""},
    {"key", "add use retire"}, {"suit", "create keygen"},
    {"completion", "bash zsh"}, {"inspect", ""}};

enum {
	LOCALS = sizeof(local) / sizeof(local[0])
};

static bool
is_first_of_noun(size_t i)
{
	for (size_t k = 0; k < i; k++) {
		if (strcmp(api_routes[k].noun, api_routes[i].noun) == 0)
			return false;
	}
	return true;
}

static void
print_nouns(void)
{
	for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
		if (is_first_of_noun(i))
			(void)printf("%s ", api_routes[i].noun);
	}
	for (size_t i = 0; i < LOCALS; i++)
		(void)printf("%s ", local[i][0]);
}

static void
print_verbs(const char *noun)
{
	(void)printf("\t%s) words=\"", noun);
	for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
		if (strcmp(api_routes[i].noun, noun) == 0)
			(void)printf("%s ", api_routes[i].verb);
	}
	ctl_list_verbs(noun);
	(void)printf("\" ;;\n");
}

static void
print_fields(const struct api_route *r)
{
	if (r->fields == NULL)
		return;
	(void)printf("\t'%s %s') words=\"", r->noun, r->verb);
	for (const struct api_field *f = r->fields; f->name != NULL; f++)
		(void)printf("%s= ", f->name);
	(void)printf("\" ;;\n");
}

static void
print_script(void)
{
	(void)printf("_tamctl() {\n"
	             "\tlocal words= cur=${COMP_WORDS[COMP_CWORD]}\n"
	             "\tcase $COMP_CWORD in\n"
	             "\t1) words=\"");
	print_nouns();
	(void)printf("\" ;;\n\t2) case ${COMP_WORDS[1]} in\n");
	for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
		if (is_first_of_noun(i))
			print_verbs(api_routes[i].noun);
	}
	for (size_t i = 0; i < LOCALS; i++)
		(void)printf("\t%s) words=\"%s\" ;;\n", local[i][0],
		    local[i][1]);
	(void)printf("\tesac ;;\n"
	             "\t*) case \"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in\n");
	for (size_t i = 0; i < API_ROUTE_COUNT; i++)
		print_fields(&api_routes[i]);
	(void)printf("\tesac ;;\n\tesac\n"
	             "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	             "\t[[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace "
	             "2>/dev/null || true\n"
	             "}\n"
	             "complete -o default -F _tamctl tamctl\n");
}

int
ctl_completion(int argc, char **argv)
{
	bool zsh = argc == 2 && strcmp(argv[1], "zsh") == 0;

	if (argc != 2 || (!zsh && strcmp(argv[1], "bash") != 0)) {
		(void)fputs("usage: tamctl completion bash|zsh\n", stderr);
		return CTL_USAGE;
	}
	if (zsh)
		(void)printf("autoload -U +X bashcompinit && bashcompinit\n");
	print_script();
	return CTL_OK;
}
