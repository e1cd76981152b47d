#include "config.h"

#include "lib/base/err.h"

#include <assert.h>

static const struct {
	enum tam_blame blame;
	enum tam_answer answer;
	const char *upper;
	const char *text;
} errors[] = {
#define X(name, blame, answer, text) \
	[TAM_##name] = {TAM_BLAME_##blame, TAM_ANSWER_##answer, #name, text},
    TAM_ERRORS(X)
#undef X
};

enum tam_blame
tam_err_blame(enum tam_err err)
{
	assert(err < TAM_ERR_COUNT);
	return errors[err].blame;
}

enum tam_answer
tam_err_answer(enum tam_err err)
{
	assert(err < TAM_ERR_COUNT);
	return errors[err].answer;
}

const char *
tam_err_text(enum tam_err err)
{
	assert(err < TAM_ERR_COUNT);
	return errors[err].text;
}

const char *
tam_err_name(enum tam_err err)
{
	static _Thread_local char name[32];
	const char *p;
	char *q = name;

	assert(err < TAM_ERR_COUNT);
	for (p = errors[err].upper; *p != '\0' && q < name + sizeof(name) - 1;
	     p++)
		*q++ = (char)(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
	*q = '\0';
	return name;
}
