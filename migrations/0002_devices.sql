-- Devices, and what the device path reads and writes about them.

CREATE SEQUENCE device_id_seq;

CREATE TABLE device (
	domain_id  integer NOT NULL REFERENCES domain,
	device_id  bigint NOT NULL DEFAULT nextval('device_id_seq'),
	name       text NOT NULL,       -- the operator's, or the key's thumbprint
	class      text NOT NULL DEFAULT '',
	status     text NOT NULL DEFAULT 'active'
	           CHECK (status IN ('pending', 'active', 'quarantined', 'decommissioned')),
	enrolled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (domain_id, device_id),
	UNIQUE (domain_id, name)
);

CREATE TABLE device_key (
	domain_id  integer NOT NULL REFERENCES domain,
	thumbprint bytea NOT NULL,
	device_id  bigint NOT NULL,
	curve      text NOT NULL CHECK (curve IN ('p256', 'ed25519')),
	public_key bytea NOT NULL,
	PRIMARY KEY (domain_id, thumbprint),
	FOREIGN KEY (domain_id, device_id) REFERENCES device
);
CREATE INDEX device_key_device ON device_key (domain_id, device_id);

CREATE TABLE device_label (
	domain_id integer NOT NULL,
	key       text NOT NULL,
	value     text NOT NULL,
	device_id bigint NOT NULL,
	PRIMARY KEY (domain_id, device_id, key),
	FOREIGN KEY (domain_id, device_id) REFERENCES device
);
CREATE INDEX device_label_value ON device_label (domain_id, key, value, device_id);

-- The one row every answer writes: narrow, no secondary index, so that an
-- update stays on its page (HOT).  stamp is the newest answer applied;
-- barrier_us the last committed Update or outcome; version changes with
-- everything a decision rests on.
CREATE TABLE device_seen (
	domain_id      integer NOT NULL,
	device_id      bigint NOT NULL,
	stamp_epoch    bigint NOT NULL DEFAULT 0,
	stamp_us       bigint NOT NULL DEFAULT 0,
	seen_us        bigint NOT NULL DEFAULT 0,
	barrier_us     bigint NOT NULL DEFAULT 0,
	version        bigint NOT NULL DEFAULT 1,
	exchange       bigint NOT NULL DEFAULT 0,
	inventory_hash bytea,
	open_work      boolean NOT NULL DEFAULT false,
	numbering      smallint NOT NULL DEFAULT -1,
	reason         text NOT NULL DEFAULT 'never_seen',
	decided_us     bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (domain_id, device_id),
	FOREIGN KEY (domain_id, device_id) REFERENCES device
) WITH (fillfactor = 70);

CREATE TABLE device_component (
	domain_id integer NOT NULL,
	device_id bigint NOT NULL,
	component bytea NOT NULL,
	digest    bytea,
	source    text NOT NULL CHECK (source IN ('reported', 'acknowledged')),
	since_us  bigint NOT NULL,
	PRIMARY KEY (domain_id, device_id, component),
	FOREIGN KEY (domain_id, device_id) REFERENCES device
);
CREATE INDEX device_component_holder ON device_component (domain_id, component, device_id);

-- Every Update, committed before its bytes leave.
CREATE TABLE outstanding_update (
	domain_id   integer NOT NULL,
	update_id   bigint NOT NULL,    -- made by the node; part of its tokens
	device_id   bigint NOT NULL,
	opener      bytea NOT NULL,     -- the token whose answer caused it
	content     bytea NOT NULL,     -- hash of manifests and unlinks
	manifests   bytea[] NOT NULL,   -- digests
	adds        bytea[] NOT NULL,   -- components, with
	add_digests bytea[] NOT NULL,   -- their image digests
	removes     bytea[] NOT NULL,
	revocations bigint[] NOT NULL,
	epoch       bigint NOT NULL,
	reason      text NOT NULL,
	state       text NOT NULL DEFAULT 'committed'
	            CHECK (state IN ('committed', 'answered', 'superseded', 'withdrawn', 'expired')),
	attempt     integer NOT NULL DEFAULT 1,
	failures    integer NOT NULL DEFAULT 0,
	committed_us bigint NOT NULL,
	offered_us  bigint NOT NULL,
	expires_us  bigint NOT NULL,
	closed_us   bigint,
	success     boolean,
	err_code    integer,
	err_detail  text,
	outcome_exchange bigint,
	PRIMARY KEY (domain_id, update_id),
	UNIQUE (domain_id, opener),
	FOREIGN KEY (domain_id, device_id) REFERENCES device
);
CREATE INDEX outstanding_update_device ON outstanding_update (domain_id, device_id, committed_us DESC);
CREATE INDEX outstanding_update_open ON outstanding_update (expires_us) WHERE state = 'committed';

CREATE TABLE revocation (
	domain_id     integer NOT NULL REFERENCES domain,
	revocation_id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
	target        text NOT NULL CHECK (target IN ('component', 'manifest')),
	component     bytea,            -- target = component
	digest        bytea,            -- target = manifest
	components    bytea[] NOT NULL, -- the components it makes a device lose
	label         text NOT NULL,    -- the target as people write it
	reason        text NOT NULL,
	advisory      text NOT NULL DEFAULT '',
	author        text NOT NULL,
	epoch         bigint NOT NULL,  -- the first it is part of
	created_us    bigint NOT NULL,
	in_force_us   bigint,
	lifted_us     bigint,
	PRIMARY KEY (domain_id, revocation_id)
);

CREATE TABLE revocation_device (
	domain_id       integer NOT NULL,
	revocation_id   bigint NOT NULL,
	device_id       bigint NOT NULL,
	affected_us     bigint NOT NULL,
	offered_us      bigint,
	acknowledged_us bigint,
	verified_us     bigint,
	PRIMARY KEY (domain_id, revocation_id, device_id),
	FOREIGN KEY (domain_id, revocation_id) REFERENCES revocation,
	FOREIGN KEY (domain_id, device_id) REFERENCES device
);
CREATE INDEX revocation_device_open ON revocation_device (domain_id, device_id) WHERE verified_us IS NULL;

-- Devices an administrator touched: nodes read it with their lease.
CREATE TABLE device_change (
	change_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	txid      xid8 NOT NULL DEFAULT pg_current_xact_id(),
	domain_id integer NOT NULL,
	device_id bigint NOT NULL
);
