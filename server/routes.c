#include "config.h"

#include "server/routes.h"

#include "server/http/server.h"
#include "server/settings.h"
#include "server/teep/payloads.h"
#include "server/teep/published.h"
#include "server/teep/transport.h"

/* A TAM URI names a domain and a wire profile; both have defaults. */
static struct http_route device[] = {
    {.path = "/tam", .handler = teep_transport},
    {.path = "/tam/{domain}", .handler = teep_transport},
    {.path = "/tam/{domain}/{profile}", .handler = teep_transport},
    {.method = "GET",
        .path = "/payload/{domain}/{digest}",
        .handler = payload_transport},
    {.method = "GET",
        .path = "/published/{domain}/{notice}",
        .handler = published_transport},
};

enum {
	DEVICE_ROUTES = sizeof(device) / sizeof(device[0])
};

void
routes_init(const struct config *config)
{
	for (size_t i = 0; i < DEVICE_ROUTES; i++) {
		if (device[i].method == NULL)
			device[i].body_max = (size_t)config->message_max;
	}
}

const struct http_route *
device_routes(size_t *n)
{
	*n = DEVICE_ROUTES;
	return device;
}
