/* What cppcheck cannot see in system headers, as it can read it. */
#define TAILQ_FOREACH(a, b, c) for (a = (b)->tqh_first; a; a = a->c.tqe_next)
#define json_array_foreach(a, b, c) \
	for (b = 0; (c = json_array_get(a, b)) != 0; b++)
#define json_object_foreach(a, b, c) \
	for (b = key_of(a); (c = json_object_get(a, b)) != 0; b = key_of(c))
