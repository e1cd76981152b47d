-- Security domains and everything in them.  Every row belongs to a domain;
-- domain_id leads every key.  Times are microseconds since 1970 where the
-- device path compares them, timestamptz where only people do.

CREATE TABLE domain (
	domain_id   integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	name        text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
	incarnation bigint NOT NULL,
	epoch       bigint NOT NULL DEFAULT 1,
	enrol       text NOT NULL DEFAULT 'closed' CHECK (enrol IN ('closed', 'ca', 'attested')),
	audit_seq   bigint NOT NULL DEFAULT 0,
	audit_hash  bytea NOT NULL DEFAULT '\x',
	created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE wire_profile (
	domain_id    integer NOT NULL REFERENCES domain,
	name         text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
	is_default   boolean NOT NULL DEFAULT false,
	wire_id      smallint NOT NULL CHECK (wire_id BETWEEN 0 AND 255),
	numbering    text NOT NULL DEFAULT 'final' CHECK (numbering IN ('final', 'legacy')),
	opener       text NOT NULL DEFAULT 'sign1-esp256'
	             CHECK (opener IN ('sign', 'sign1-esp256', 'sign1-ed25519')),
	algorithms   text NOT NULL DEFAULT 'current' CHECK (algorithms IN ('current', 'deprecated')),
	kid          text NOT NULL DEFAULT 'thumbprint' CHECK (kid IN ('thumbprint', 'none')),
	ask          text NOT NULL DEFAULT 'plain' CHECK (ask IN ('plain', 'attest')),
	always_token boolean NOT NULL DEFAULT false,
	verify_after_update text NOT NULL DEFAULT 'revocations'
	             CHECK (verify_after_update IN ('never', 'revocations', 'always')),
	update_bytes integer NOT NULL DEFAULT 1048576 CHECK (update_bytes BETWEEN 512 AND 16777216),
	PRIMARY KEY (domain_id, name),
	UNIQUE (domain_id, wire_id)
);
CREATE UNIQUE INDEX wire_profile_default ON wire_profile (domain_id) WHERE is_default;

CREATE TABLE tam_key (
	domain_id  integer NOT NULL REFERENCES domain,
	thumbprint bytea NOT NULL,
	curve      text NOT NULL CHECK (curve IN ('p256', 'ed25519')),
	public_key bytea NOT NULL,
	uri        text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (domain_id, thumbprint)
);

-- Keys that authenticate tokens, wrapped by the master key of the nodes'
-- configuration.  One minting key at a time; the older ones verify on.
CREATE TABLE token_key (
	key_id       smallint PRIMARY KEY CHECK (key_id BETWEEN 0 AND 15),
	wrapped      bytea NOT NULL,
	mint_from_us bigint NOT NULL,
	retire_us    bigint NOT NULL
);

CREATE TABLE node_lease (
	domain_id  integer NOT NULL REFERENCES domain,
	node_id    text NOT NULL,
	epoch      bigint NOT NULL,
	expires_us bigint NOT NULL,
	PRIMARY KEY (domain_id, node_id)
) WITH (fillfactor = 50);

CREATE TABLE trust_anchor (
	domain_id  integer NOT NULL REFERENCES domain,
	name       text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
	curve      text NOT NULL CHECK (curve IN ('p256', 'ed25519')),
	public_key bytea NOT NULL,
	thumbprint bytea NOT NULL,
	prefixes   text[] NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (domain_id, name),
	UNIQUE (domain_id, thumbprint)
);

CREATE TABLE manifest (
	domain_id   integer NOT NULL REFERENCES domain,
	digest      bytea NOT NULL,
	component   text NOT NULL,      -- manifest-component-id
	component_id bytea NOT NULL,    -- the same as CBOR
	sequence    bigint NOT NULL,
	signer      text NOT NULL,
	envelope    bytea NOT NULL,
	components  jsonb NOT NULL,     -- what it installs
	uploaded_by text NOT NULL,
	uploaded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (domain_id, digest),
	UNIQUE (domain_id, component, sequence)
);

CREATE TABLE policy (
	domain_id integer NOT NULL REFERENCES domain,
	name      text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
	revision  bigint NOT NULL,
	document  jsonb NOT NULL,
	PRIMARY KEY (domain_id, name)
);

CREATE TABLE policy_revision (
	domain_id integer NOT NULL REFERENCES domain,
	name      text NOT NULL,
	revision  bigint NOT NULL,
	document  jsonb,                -- NULL: deleted
	author    text NOT NULL,
	reason    text NOT NULL DEFAULT '',
	at        timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (domain_id, name, revision)
);

CREATE TABLE principal (
	domain_id  integer NOT NULL REFERENCES domain,
	name       text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
	role       text NOT NULL CHECK (role IN ('viewer', 'operator', 'policy-admin', 'security', 'auditor', 'admin')),
	token_hash bytea NOT NULL UNIQUE,
	expires_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (domain_id, name)
);
