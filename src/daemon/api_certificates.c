/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_certificates.c - /1.0/certificates: who is trusted beyond the unix socket. Nobody: berth listens on no
 * other one yet.
 */
#include <errno.h>

#include "daemon/api.h"
#include "daemon/collections.h"

static int list_certificates(struct service *service, struct request *request, struct error *e)
{
	(void)service;
	return reply_collection(request, json_array(), "/1.0/certificates", "fingerprint", e);
}

static int add_certificate(struct service *service, struct request *request, struct error *e)
{
	(void)service, (void)request;
	return error_set(e, -EOPNOTSUPP,
		"this berthd listens on its unix socket only, where no certificate is asked for");
}

static int get_certificate(struct service *service, struct request *request, struct error *e)
{
	(void)service, (void)request;
	return error_set(e, -ENOENT, "Certificate not found");
}

const struct route certificates_routes[] = {
	{ "GET", "/1.0/certificates", REQUEST_NONE, list_certificates, ROUTE_NO_PROJECT },
	{ "POST", "/1.0/certificates", REQUEST_JSON, add_certificate, ROUTE_NO_PROJECT },
	{ "GET", "/1.0/certificates/{fingerprint}", REQUEST_NONE, get_certificate,
		ROUTE_NO_PROJECT },
	{},
};
