#include "config.h"

#include "admin/policy_cache.h"

#include <pthread.h>

#include "admin/policy_rows.h"
#include "storage/admin_statements.h"

enum {
	SETS_MAX = 16
};

static struct {
	pthread_mutex_t lock;
	size_t next; /* to be replaced */
	struct {
		int32_t domain_id; /* 0: none */
		int64_t epoch;
		struct policy_set *set;
	} sets[SETS_MAX];
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct policy_set *
find(int32_t domain_id, int64_t epoch)
{
	struct policy_set *set = NULL;

	(void)pthread_mutex_lock(&cache.lock);
	for (size_t i = 0; i < SETS_MAX && set == NULL; i++) {
		if (cache.sets[i].domain_id == domain_id &&
		    cache.sets[i].epoch == epoch)
			set = policy_set_ref(cache.sets[i].set);
	}
	(void)pthread_mutex_unlock(&cache.lock);
	return set;
}

/* One per domain; the oldest goes. */
static void
keep(int32_t domain_id, int64_t epoch, struct policy_set *set)
{
	size_t i = 0;

	(void)pthread_mutex_lock(&cache.lock);
	while (i < SETS_MAX && cache.sets[i].domain_id != domain_id)
		i++;
	if (i == SETS_MAX)
		i = cache.next++ % SETS_MAX;
	policy_set_unref(cache.sets[i].set);
	cache.sets[i].domain_id = domain_id;
	cache.sets[i].epoch = epoch;
	cache.sets[i].set = policy_set_ref(set);
	(void)pthread_mutex_unlock(&cache.lock);
}

void
policy_cache_clear(void)
{
	for (size_t i = 0; i < SETS_MAX; i++) {
		policy_set_unref(cache.sets[i].set);
		cache.sets[i].set = NULL;
		cache.sets[i].domain_id = 0;
	}
}

static enum tam_err
epoch_of(struct api_request *r, int64_t *epoch)
{
	struct sql_result *rows;
	enum tam_err err = API_EXEC(r, &rows, SQL_EPOCH, r->domain_text);

	if (err != TAM_OK)
		return err;
	*epoch = sql_int(rows, 0, 0);
	sql_result_free(rows);
	return TAM_OK;
}

enum tam_err
policy_cache_get(struct api_request *r, struct policy_set **out)
{
	int64_t before, after;
	enum tam_err err = epoch_of(r, &before);

	if (err != TAM_OK)
		return err;
	*out = find(r->domain_id, before);
	if (*out != NULL)
		return TAM_OK;
	err = policy_rows_load(r->sql, r->domain_text, false, out);
	if (err != TAM_OK)
		return api_sql_problem(r, err);
	err = epoch_of(r, &after);
	if (err != TAM_OK) {
		policy_set_unref(*out);
		return err;
	}
	/* What was read while it changed belongs to no epoch. */
	if (before == after)
		keep(r->domain_id, before, *out);
	return TAM_OK;
}
