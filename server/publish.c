#include "config.h"

#include "server/publish.h"

#include "admin/notices.h"
#include "server/teep/domain.h"
#include "server/teep/published.h"
#include "storage/sql.h"

enum {
	PAYLOAD_MAX = 16 << 20
};

static enum tam_err
add(struct sql *sql, const struct tam_domain *d, enum notice_kind kind,
    int64_t now_s, int64_t life_s, struct published *p)
{
	struct buf payload;
	enum tam_err err;

	buf_init(&payload, PAYLOAD_MAX);
	err = notice_make(sql, kind, d->name, now_s, life_s, &payload);
	if (err == TAM_OK && payload.n > 0 && !payload.full)
		published_add(p, d->id, notice_names[kind],
		    buf_slice(&payload));
	buf_fini(&payload);
	return err;
}

static enum tam_err
add_all(struct sql *sql, const struct tam_snapshot *snapshot, int64_t now_s,
    int64_t life_s, struct published *p)
{
	enum tam_err err = TAM_OK;

	for (size_t i = 0; err == TAM_OK && i < snapshot->n; i++) {
		for (int k = 0; err == TAM_OK && k < NOTICES; k++)
			err = add(sql, &snapshot->domains[i],
			    (enum notice_kind)k, now_s, life_s, p);
	}
	return err;
}

enum tam_err
publish_make(struct sql *sql, const struct tam_snapshot *snapshot,
    int64_t now_s, int64_t every_s, struct published **out)
{
	struct published *p =
	    published_new(snapshot->n * NOTICES, (int)every_s);
	enum tam_err err =
	    sql_script(sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");

	if (err == TAM_OK)
		err = add_all(sql, snapshot, now_s, PUBLISH_LIVES * every_s, p);
	if (err == TAM_OK)
		err = sql_script(sql, "COMMIT");
	else
		sql_drop(sql);
	if (err == TAM_OK)
		*out = p;
	else
		published_unref(p);
	return err;
}
