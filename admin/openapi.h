/*
 * openapi.h - the OpenAPI 3.1 document, made from the table of routes.
 */
#ifndef ADMIN_OPENAPI_H
#define ADMIN_OPENAPI_H

/* To be freed by the caller. */
char *openapi_document(void);

#endif
