-- A database that was restored from a backup is served only after a person
-- accepted it: that makes a new incarnation of every domain.  Nodes remember
-- outside the database what they served; this says which incarnation followed
-- which, and whether a node without memory may begin.

CREATE TABLE domain_incarnation (
	domain_id   integer NOT NULL REFERENCES domain,
	incarnation bigint NOT NULL,
	follows     bigint NOT NULL,  -- the incarnation that was restored
	epoch       bigint NOT NULL,  -- the epoch that was restored
	accepted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (domain_id, incarnation)
);
SELECT of_domains('domain_incarnation');
GRANT SELECT ON domain_incarnation TO tam_wire, tam_admin;

-- One row while a node without memory may begin: after the bootstrap of the
-- first domain and after an accepted restore.  The first node that gets a
-- lease removes the row.
CREATE TABLE admission (
	one        boolean PRIMARY KEY DEFAULT true CHECK (one),
	why        text NOT NULL,
	granted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT, DELETE ON admission TO tam_wire;

-- Whether an incarnation came from another one by accepted restores.
CREATE FUNCTION incarnation_follows(p_domain integer, p_incarnation bigint, p_before bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
	WITH RECURSIVE line AS (
		SELECT i.follows FROM domain_incarnation i WHERE i.domain_id = p_domain AND i.incarnation = p_incarnation
		UNION
		SELECT i.follows FROM line l JOIN domain_incarnation i ON i.domain_id = p_domain AND i.incarnation = l.follows)
	SELECT EXISTS (SELECT FROM line WHERE follows = p_before)
$$;

-- Accepts the database as it is.  Epochs of the new incarnation are greater
-- than all that were served before, so that nothing cached under an old epoch
-- is taken for new.  Transaction ids may be those of another cluster.
CREATE FUNCTION restore_accept() RETURNS TABLE (domain text, epoch bigint, event bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	d record;
	fresh bigint;
BEGIN
	FOR d IN SELECT * FROM domain ORDER BY domain_id FOR UPDATE LOOP
		fresh := ('x' || substr(md5(gen_random_uuid()::text), 1, 15))::bit(60)::bigint;
		INSERT INTO domain_incarnation (domain_id, incarnation, follows, epoch)
		VALUES (d.domain_id, fresh, d.incarnation, d.epoch);
		UPDATE domain u SET incarnation = fresh, epoch = ((d.epoch >> 32) + 1) << 32 WHERE u.domain_id = d.domain_id;
		PERFORM audit_append(d.domain_id, 'tamctl', 'restore_accept', d.name, '', '',
			jsonb_build_object('incarnation', d.incarnation::text, 'epoch', d.epoch),
			jsonb_build_object('incarnation', fresh::text, 'epoch', ((d.epoch >> 32) + 1) << 32));
		domain := d.name;
		epoch := d.epoch;
		event := d.audit_seq;
		RETURN NEXT;
	END LOOP;
	UPDATE proposal SET acted = NULL WHERE acted IS NOT NULL;
	DELETE FROM request_actor;
	DELETE FROM device_event_horizon;
	INSERT INTO admission (why) VALUES ('restore accepted') ON CONFLICT DO NOTHING;
END $$;
REVOKE ALL ON FUNCTION restore_accept FROM PUBLIC;
