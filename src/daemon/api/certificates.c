/* SPDX-License-Identifier: Apache-2.0 */
/*
 * certificates.c - /1.0/certificates: who is trusted beyond the unix socket, and tokens for who will be.
 */
#include <errno.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/events.h"
#include "daemon/operation.h"
#include "daemon/projects.h"
#include "daemon/remote.h"
#include "daemon/trust.h"
#include "http/certificate.h"
#include "model/json.h"

#define NAME_MAX_BYTES 128

static int list_certificates(struct service *service, struct request *request, struct error *e)
{
	json_t *list = json_array();
	const char *fingerprint;
	json_t *certificate;
	json_object_foreach(json_mutable(trust_all(service)), fingerprint, certificate)
	{
		if (request->client.access == ACCESS_FULL ||
			text_equal(request->client.fingerprint, fingerprint))
			json_array_append(list, certificate);
	}
	return reply_collection(request, list, "/1.0/certificates", "fingerprint", e);
}

static int get_certificate(struct service *service, struct request *request, struct error *e)
{
	const json_t *certificate = NULL;
	int r = trust_look(service, request_param(request, "fingerprint"), &certificate, e);
	return r < 0 ? r : reply_object(request, json_incref(json_mutable(certificate)));
}

static void tell(struct service *service, const char *action, const char *fingerprint)
{
	cleanup(free) char *url = url_for("/1.0/certificates", fingerprint, NULL);
	events_lifecycle(service, action, NULL, url, NULL);
}

static int read_projects(struct service *service, const json_t *body, json_t **ret, struct error *e)
{
	json_t *projects = json_object_get(body, "projects"), *project;
	size_t i;
	if (!projects || json_is_null(projects)) {
		*ret = json_array();
		return 0;
	}
	if (!json_is_array(projects))
		return error_set(e, -EINVAL, "projects: a list is wanted");
	json_array_foreach(projects, i, project)
	{
		const char *name = json_string_value(project);
		if (!name || !project_exists(service, name))
			return error_set(e, -EINVAL, "projects[%zu]: there is no such project", i);
	}
	*ret = json_copy(projects);
	return 0;
}

/* {name, type, restricted, projects} of a body; the caller owns *ret. */
static int read_wanted(struct service *service, const json_t *body, json_t **ret, struct error *e)
{
	const char *name = "", *type = "client";
	bool is_restricted = false;
	int r = json_read_text(body, "", "name", &name, e);
	if (r == 0)
		r = json_read_text(body, "", "type", &type, e);
	if (r == 0)
		r = json_read_bool(body, "", "restricted", &is_restricted, e);
	if (r < 0)
		return r;
	if (strlen(name) > NAME_MAX_BYTES)
		return error_set(e, -EINVAL, "name: at most %d bytes", NAME_MAX_BYTES);
	if (!*type)
		type = "client";
	if (!text_equal(type, "client") && !text_equal(type, "metrics"))
		return error_set(e, -EINVAL, "type: \"%.64s\" is neither client nor metrics", type);
	json_t *projects = NULL;
	r = read_projects(service, body, &projects, e);
	if (r < 0)
		return r;
	*ret = json_pack("{s:s,s:s,s:b,s:o,s:s}", "name", name, "type", type, "restricted",
		is_restricted, "projects", projects, "description", "");
	return 0;
}

static int add_token(struct service *service, struct request *request, struct error *e)
{
	const struct certificate *own = NULL;
	cleanup(json_decref) json_t *wanted = NULL;
	int r = read_wanted(service, request_json(request), &wanted, e);
	if (r < 0)
		return r;
	if (!*json_text(wanted, "name"))
		return error_set(e, -EINVAL, "name: a token needs its client's name");
	cleanup(json_decref) json_t *addresses = remote_addresses(service);
	if (json_array_size(addresses) == 0)
		return error_set(e, -EINVAL,
			"there is no address a client could come to: set core.https_address first");
	r = remote_certificate(service, &own, e);
	if (r < 0)
		return r;
	struct operation *operation = NULL;
	r = trust_new_token(
		service, wanted, json_incref(addresses), own->fingerprint, &operation, e);
	return r < 0 ? r : reply_operation(request, operation);
}

/* The certificate of the body, or the one that the client has shown. */
static int read_certificate(const struct request *request, bool may_be_another,
	struct certificate *ret, struct error *e)
{
	const char *text = "";
	int r = may_be_another ? json_read_text(request_json(request), "", "certificate", &text, e)
			       : 0;
	if (r < 0)
		return r;
	if (*text) {
		r = certificate_read(text, strlen(text), ret, e);
		return r < 0 ? error_prefix(e, r, "certificate") : 0;
	}
	const struct tls_peer *peer = http_request_remote(request->http);
	if (!peer || !peer->certificate)
		return error_set(e, -EINVAL,
			"certificate: none was given, and the connection has shown none");
	return certificate_read(peer->certificate, strlen(peer->certificate), ret, e);
}

/* What a client may be without our knowing it yet: what its token says. */
static int wanted_by_token(
	struct service *service, struct request *request, json_t **ret, struct error *e)
{
	const char *token = "";
	int r = json_read_text(request_json(request), "", "trust_token", &token, e);
	if (r == 0 && !*token)
		r = json_read_text(request_json(request), "", "password", &token, e);
	if (r < 0)
		return r;
	const struct tls_peer *peer = http_request_remote(request->http);
	if (!*token)
		return error_set(e, -EACCES, "not authorized");
	/* Before the token is used up. */
	if (!peer || !peer->certificate)
		return error_set(e, -EINVAL, "certificate: the connection has shown none");
	return trust_take_token(service, token, ret, e);
}

static int add_certificate(struct service *service, struct request *request, struct error *e)
{
	const json_t *body = request_json(request);
	bool is_token = false, is_known = request->client.access == ACCESS_FULL;
	cleanup(certificate_done) struct certificate certificate = {};
	cleanup(json_decref) json_t *wanted = NULL;
	int r = json_read_bool(body, "", "token", &is_token, e);
	if (r < 0)
		return r;
	/* A restricted client can't make another one. */
	if (!is_known && (request->client.access != ACCESS_NONE || is_token))
		return error_set(e, -EACCES, "not authorized");
	if (is_token)
		return add_token(service, request, e);
	/* A token makes the certificate known that shows it, whatever the body says. */
	r = is_known ? read_wanted(service, body, &wanted, e)
		     : wanted_by_token(service, request, &wanted, e);
	if (r == 0)
		r = read_certificate(request, is_known, &certificate, e);
	if (r < 0)
		return r;
	if (trust_find(service, certificate.fingerprint))
		return error_set(e, -EEXIST, "Certificate already in trust store");
	if (!*json_text(wanted, "name"))
		json_object_set_new(wanted, "name", json_string(certificate.fingerprint));
	json_object_set_new(wanted, "fingerprint", json_string(certificate.fingerprint));
	json_object_set_new(wanted, "certificate", json_string(certificate.pem));
	r = trust_put(service, wanted, e);
	if (r < 0)
		return r;
	tell(service, "certificate-created", certificate.fingerprint);
	return reply_created(request, "/1.0/certificates/%s", certificate.fingerprint);
}

static int change_certificate(
	struct service *service, struct request *request, bool is_patch, struct error *e)
{
	const json_t *old = NULL;
	int r = trust_look(service, request_param(request, "fingerprint"), &old, e);
	if (r == 0)
		r = request_if_match(request, old, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *body = is_patch ? json_patched(old, request_json(request))
						     : json_incref(request_json(request));
	cleanup(json_decref) json_t *wanted = NULL;
	r = read_wanted(service, body, &wanted, e);
	if (r < 0)
		return r;
	const char *pem = json_text(body, "certificate");
	if (pem && *pem && !text_equal(pem, json_text(old, "certificate")))
		return error_set(e, -EINVAL,
			"certificate: it can't be exchanged; add the new one, remove the old");
	json_object_set(wanted, "fingerprint", json_object_get(old, "fingerprint"));
	json_object_set(wanted, "certificate", json_object_get(old, "certificate"));
	r = trust_put(service, wanted, e);
	if (r < 0)
		return r;
	tell(service, "certificate-updated", json_text(wanted, "fingerprint"));
	return reply_sync(request, NULL);
}

static int put_certificate(struct service *service, struct request *request, struct error *e)
{
	return change_certificate(service, request, false, e);
}

static int patch_certificate(struct service *service, struct request *request, struct error *e)
{
	return change_certificate(service, request, true, e);
}

static int delete_certificate(struct service *service, struct request *request, struct error *e)
{
	const json_t *found = NULL;
	int r = trust_look(service, request_param(request, "fingerprint"), &found, e);
	if (r < 0)
		return r;
	cleanup(free) char *fingerprint = alloc_text(json_text(found, "fingerprint"));
	r = trust_remove(service, fingerprint, e);
	if (r < 0)
		return r;
	tell(service, "certificate-deleted", fingerprint);
	return reply_sync(request, NULL);
}

#define ONE "/1.0/certificates/{fingerprint}"

const struct route certificates_routes[] = {
	{ "GET", "/1.0/certificates", REQUEST_NONE, list_certificates, ROUTE_NO_PROJECT },
	{ "POST", "/1.0/certificates", REQUEST_JSON, add_certificate, ROUTE_NO_PROJECT },
	{ "GET", ONE, REQUEST_NONE, get_certificate, ROUTE_NO_PROJECT },
	{ "PUT", ONE, REQUEST_JSON, put_certificate, ROUTE_NO_PROJECT },
	{ "PATCH", ONE, REQUEST_JSON, patch_certificate, ROUTE_NO_PROJECT },
	{ "DELETE", ONE, REQUEST_NONE, delete_certificate, ROUTE_NO_PROJECT },
	{},
};
