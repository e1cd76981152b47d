-- As before; and build metadata behind a '+' has no order, and a letter v in
-- front of a number is no part of the version (policy/version.h).
CREATE OR REPLACE FUNCTION version_key(v text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
	SELECT coalesce(string_agg(CASE WHEN r.m[1] ~ '^[0-9]'
		THEN '\x20'::bytea || int4send(length(ltrim(r.m[1], '0'))) || convert_to(ltrim(r.m[1], '0'), 'UTF8')
		ELSE '\x08'::bytea || convert_to(lower(r.m[1] COLLATE "C"), 'UTF8') || '\x00'::bytea END,
		''::bytea ORDER BY r.n), ''::bytea) || '\x10'::bytea
	FROM regexp_matches(regexp_replace(regexp_replace(split_part(v, '+', 1) COLLATE "C", '^[vV](?=[0-9])', ''),
		'([^0-9A-Za-z]+0+)+(?=[^0-9A-Za-z]*([A-Za-z]|$))', '-', 'g'),
		'([0-9]+|[A-Za-z]+)', 'g') WITH ORDINALITY AS r (m, n)
$$;
