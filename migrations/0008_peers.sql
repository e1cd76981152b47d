-- Wire profiles for the agents there are: a kid of the operator's choice, SUIT
-- profiles in the shape of old drafts, and a profile by name for each.

ALTER TABLE wire_profile DROP CONSTRAINT wire_profile_kid_check;
ALTER TABLE wire_profile ADD CONSTRAINT wire_profile_kid_check
	CHECK (kid IN ('thumbprint', 'none') OR kid ~ '^([0-9a-f][0-9a-f]){1,32}$');
ALTER TABLE wire_profile ADD suit_profiles text NOT NULL DEFAULT 'current'
	CHECK (suit_profiles IN ('current', 'two-integers'));

CREATE FUNCTION wire_profiles_of_peers(p_domain integer) RETURNS void
LANGUAGE sql AS $$
	INSERT INTO wire_profile (domain_id, name, wire_id, numbering, opener, algorithms, kid, verify_after_update,
		update_bytes, suit_profiles)
	SELECT p_domain, x.name, (SELECT coalesce(max(wire_id), -1) FROM wire_profile WHERE domain_id = p_domain) + x.n,
		'legacy', 'sign1-esp256', 'deprecated', x.kid, 'never', x.update_bytes, x.suit_profiles
	FROM (VALUES (1, 'libteep', 'thumbprint', 800, 'current'),
		(2, 'draft12', '01000000', 1048576, 'two-integers')) AS x (n, name, kid, update_bytes, suit_profiles)
	WHERE NOT EXISTS (SELECT FROM wire_profile p WHERE p.domain_id = p_domain AND p.name = x.name)
$$;
SELECT wire_profiles_of_peers(domain_id) FROM domain;
