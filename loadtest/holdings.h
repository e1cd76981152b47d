/*
 * holdings.h - what an agent holds, for its messages; inside loadtest/ only.
 */
#ifndef LOADTEST_HOLDINGS_H
#define LOADTEST_HOLDINGS_H

#include "loadtest/device.h"

/* NULL: it does not hold it. */
struct agent_component *agent_component(struct agent *, struct slice id);
struct slice agent_component_id(const struct agent_component *);

/* Runs a manifest; false when it failed, *outcome saying where.  `digest` is
 * the manifest's, as far as it could be read. */
bool agent_install(struct fleet_world *, struct agent *, struct slice envelope,
    struct arena *, struct suit_outcome *, uint8_t digest[32]);
/* Uninstalls what the manifest of this id brought; false when it failed. */
bool agent_unlink(struct fleet_world *, struct agent *, struct slice id,
    struct arena *);

#endif
