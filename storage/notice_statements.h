/*
 * notice_statements.h - what a domain tells everybody (admin/notices.h); for
 * nodes and for the owner.
 */
#ifndef STORAGE_NOTICE_STATEMENTS_H
#define STORAGE_NOTICE_STATEMENTS_H

#define SQL_NOTICE_DOMAIN \
	"SELECT epoch, audit_seq, audit_hash FROM domain WHERE name = $1"

#define SQL_NOTICE_REVOCATIONS                                               \
	"SELECT r.revocation_id, r.target, r.label, r.component, r.digest, " \
	"r.first_sequence, r.last_sequence, r.reason, r.advisory, "          \
	"r.suspended::int, r.created_us / 1000000, r.quarantine::int "       \
	"FROM revocation r JOIN domain d USING (domain_id) "                 \
	"WHERE d.name = $1 AND r.lifted_us IS NULL ORDER BY r.revocation_id"

#endif
