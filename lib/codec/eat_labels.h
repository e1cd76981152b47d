/*
 * eat_labels.h - claim keys (RFC 8392, RFC 9711, draft-ietf-rats-ear); for
 * eat*.c and ear.c only.
 */
#ifndef LIB_CODEC_EAT_LABELS_H
#define LIB_CODEC_EAT_LABELS_H

#include "lib/codec/cbor_in.h"
#include "lib/codec/eat.h"

enum eat_label {
	EAT_ISS = 1,
	EAT_EXP = 4,
	EAT_NBF = 5,
	EAT_IAT = 6,
	EAT_CNF = 8,
	EAT_NONCE = 10,
	EAT_UEID = 256,
	EAT_OEMID = 258,
	EAT_HWMODEL = 259,
	EAT_HWVERSION = 260,
	EAT_OEMBOOT = 262,
	EAT_DBGSTAT = 263,
	EAT_PROFILE = 265,
	EAT_SUBMODS = 266,
	EAT_SWNAME = 270,
	EAT_SWVERSION = 271,
	EAT_MANIFESTS = 272,
	EAT_MEASUREMENTS = 273
};

enum ear_label {
	EAR_LABEL_STATUS = 1000,
	EAR_LABEL_VECTOR = 1001,
	EAR_LABEL_TEEP_CLAIMS = 65000,
	EAR_LABEL_KEY_ATTESTATION = -70002
};

enum {
	/* A content format for SUIT_Reference is not assigned yet; 60 is
	 * application/cbor, as the draft's example has it. */
	EAT_SUIT_REFERENCE_FORMAT = 60
};

/* A claims map, in place. */
void eat_read_claims(struct cbor_in *, struct arena *, struct eat_claims *);

#endif
