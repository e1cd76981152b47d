#include "config.h"

#include "admin/manifest_facts.h"

void
manifest_facts_of(const struct suit_info *info, struct slice digest,
    struct manifest_facts *out)
{
	const struct suit_component *brought[SUIT_BROUGHT_MAX];
	struct policy_manifest *m = &out->manifest;

	*m = (struct policy_manifest){.digest = digest,
	    .id = info->manifest.component_id,
	    .sequence = info->manifest.sequence,
	    .components = out->components,
	    .dependencies = out->dependencies};
	m->n_components = suit_brought(info, brought);
	for (size_t i = 0; i < m->n_components; i++)
		out->components[i] = (struct policy_component){brought[i]->id,
		    brought[i]->many_digests ? slice_none()
		                             : brought[i]->digest};
	m->n_dependencies = suit_dependencies(info, out->dependencies);
}
