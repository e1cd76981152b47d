-- audit_event: what people and controllers did, hash-chained per domain under
-- the domain's row lock.  device_event: what happened to devices, appended
-- unchained; a chore seals closed ranges of it into the audit chain.

CREATE TABLE audit_event (
	domain_id  integer NOT NULL REFERENCES domain,
	seq        bigint NOT NULL,     -- no gaps, in commit order
	at         timestamptz NOT NULL DEFAULT clock_timestamp(),
	actor      text NOT NULL,
	action     text NOT NULL,
	object     text NOT NULL,
	reason     text NOT NULL DEFAULT '',
	request_id text NOT NULL DEFAULT '',
	before     jsonb,
	after      jsonb,
	prev_hash  bytea NOT NULL,
	hash       bytea NOT NULL,
	PRIMARY KEY (domain_id, seq)
);

CREATE TABLE device_event (
	event_id  bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
	txid      xid8 NOT NULL DEFAULT pg_current_xact_id(),
	domain_id integer NOT NULL,
	device_id bigint NOT NULL,
	at_us     bigint NOT NULL,
	kind      text NOT NULL,
	update_id bigint,
	detail    text NOT NULL DEFAULT '',
	PRIMARY KEY (domain_id, event_id)
);
CREATE INDEX device_event_device ON device_event (domain_id, device_id, event_id);

CREATE TABLE device_event_seal (
	domain_id  integer NOT NULL,
	last_event bigint NOT NULL,
	count      bigint NOT NULL,
	hash       bytea NOT NULL,
	audit_seq  bigint NOT NULL,
	PRIMARY KEY (domain_id, last_event)
);

CREATE FUNCTION audit_hash(prev bytea, seq bigint, at timestamptz, actor text, action text, object text,
	reason text, request_id text, before jsonb, after jsonb) RETURNS bytea
LANGUAGE sql IMMUTABLE AS $$
	SELECT sha256(prev || convert_to(jsonb_build_array(seq, extract(epoch FROM at), actor, action, object,
		reason, request_id, before, after)::text, 'UTF8'))
$$;

-- Appends to the chain; the caller's transaction holds the domain's lock
-- until it commits, so seq is in commit order and has no gaps.
CREATE FUNCTION audit_append(p_domain integer, p_actor text, p_action text, p_object text, p_reason text,
	p_request text, p_before jsonb, p_after jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	d domain%ROWTYPE;
	t timestamptz := clock_timestamp();
	h bytea;
BEGIN
	SELECT * INTO STRICT d FROM domain WHERE domain_id = p_domain FOR UPDATE;
	h := audit_hash(d.audit_hash, d.audit_seq + 1, t, p_actor, p_action, p_object, p_reason, p_request,
		p_before, p_after);
	INSERT INTO audit_event VALUES (p_domain, d.audit_seq + 1, t, p_actor, p_action, p_object, p_reason,
		p_request, p_before, p_after, d.audit_hash, h);
	UPDATE domain SET audit_seq = d.audit_seq + 1, audit_hash = h WHERE domain_id = p_domain;
	RETURN d.audit_seq + 1;
END $$;

-- What nodes serve has changed: the snapshot of the domain is another one.
CREATE FUNCTION epoch_raise(p_domain integer) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	e bigint;
BEGIN
	UPDATE domain SET epoch = epoch + 1 WHERE domain_id = p_domain RETURNING epoch INTO STRICT e;
	PERFORM pg_notify('tam_epoch', p_domain::text);
	RETURN e;
END $$;

-- A single device was changed by an administrator.
CREATE FUNCTION device_touch(p_domain integer, p_device bigint) RETURNS void
LANGUAGE sql AS $$
	UPDATE device_seen SET version = version + 1 WHERE domain_id = p_domain AND device_id = p_device;
	INSERT INTO device_change (domain_id, device_id) VALUES (p_domain, p_device);
$$;
