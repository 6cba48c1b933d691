/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trust.c - certificates in the store and in memory; tokens in memory only.
 */
#include "daemon/trust.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "daemon/config.h"
#include "daemon/operation.h"
#include "http/certificate.h"
#include "model/json.h"

#define COLLECTION       "certificate"
#define SECRET_BYTES     32
#define TOKENS_MAX       256
#define TOKEN_TEXT_MAX   8192
#define CERTIFICATES_MAX 10000
#define SHORTEST_START   12

struct token {
	struct trust *trust;
	char *secret;
	json_t *wanted;
	struct operation *operation;
	struct source *timer; /* NULL: it does not end by itself */
	struct token *after;
};

struct trust {
	struct service *service;
	json_t *certificates;
	struct token *tokens;
	size_t token_count;
};

static int check_expiry(const char *value, struct error *e)
{
	uint64_t ns;
	if (text_to_ns(value, &ns) < 0 || ns == 0)
		return error_set(e, -EINVAL, "\"%.64s\" is no time like 30m, 12h or 7d", value);
	return 0;
}

static const struct config_key expiry_key = { "core.remote_token_expiry", check_expiry, NULL,
	NULL };

static int load(void *data, const char *project, const char *name, const json_t *object)
{
	(void)project;
	struct trust *trust = data;
	json_object_set(trust->certificates, name, json_mutable(object));
	return 0;
}

int trust_start(struct service *service, struct error *e)
{
	struct trust *trust = alloc(struct trust);
	trust->service = service;
	trust->certificates = json_object();
	service->trust = trust;
	config_add(service, &expiry_key);
	return store_each(service->store, COLLECTION, "", load, trust, e);
}

static void free_token(struct token *token)
{
	struct token **at = &token->trust->tokens;
	while (*at != token)
		at = &(*at)->after;
	*at = token->after;
	token->trust->token_count--;
	source_free(token->timer);
	explicit_bzero(token->secret, strlen(token->secret));
	free(token->secret);
	json_decref(token->wanted);
	free(token);
}

void trust_stop(struct service *service)
{
	struct trust *trust = TAKE_PTR(service->trust);
	if (!trust)
		return;
	while (trust->tokens)
		free_token(trust->tokens);
	json_decref(trust->certificates);
	free(trust);
}

const json_t *trust_all(const struct service *service)
{
	return service->trust->certificates;
}

const json_t *trust_find(const struct service *service, const char *fingerprint)
{
	return json_object_get(service->trust->certificates, fingerprint);
}

int trust_look(
	const struct service *service, const char *start, const json_t **ret, struct error *e)
{
	const json_t *found = trust_find(service, start);
	const char *fingerprint;
	json_t *certificate;
	size_t count = found != NULL;
	if (!found && strlen(start) >= SHORTEST_START) {
		json_object_foreach(service->trust->certificates, fingerprint, certificate)
		{
			if (!text_starts(fingerprint, start))
				continue;
			found = certificate;
			count++;
		}
	}
	if (count == 0)
		return error_set(e, -ENOENT, "Certificate not found");
	if (count > 1)
		return error_set(
			e, -EINVAL, "\"%.64s\" is the start of %zu certificates", start, count);
	*ret = found;
	return 0;
}

int trust_put(struct service *service, const json_t *certificate, struct error *e)
{
	struct trust *trust = service->trust;
	const char *fingerprint = json_text(certificate, "fingerprint");
	if (!trust_find(service, fingerprint) &&
		json_object_size(trust->certificates) >= CERTIFICATES_MAX)
		return error_set(e, -ENOSPC, "there are %d certificates, and no more are kept",
			CERTIFICATES_MAX);
	int r = store_put(service->store, COLLECTION, "", fingerprint, certificate, e);
	if (r == 0)
		json_object_set(trust->certificates, fingerprint, json_mutable(certificate));
	return r;
}

int trust_remove(struct service *service, const char *fingerprint, struct error *e)
{
	int r = store_remove(service->store, COLLECTION, "", fingerprint, e);
	if (r == 0)
		json_object_del(service->trust->certificates, fingerprint);
	return r;
}

/* -- tokens --------------------------------------------------------------------------------------- */

static int cancel_token(void *data, struct operation *operation, struct error *e)
{
	(void)e;
	free_token(data);
	operation_failed(operation, -ECANCELED, NULL);
	return 0;
}

static void on_expired(void *data)
{
	struct token *token = data;
	struct operation *operation = token->operation;
	struct error e = {};
	free_token(token);
	error_set(&e, -ETIMEDOUT, "the token was not used in time");
	operation_failed(operation, -ETIMEDOUT, &e);
}

int trust_new_token(struct service *service, const json_t *wanted, json_t *addresses,
	const char *fingerprint, struct operation **ret, struct error *e)
{
	cleanup(json_decref) json_t *owned = addresses;
	struct trust *trust = service->trust;
	if (trust->token_count >= TOKENS_MAX)
		return error_set(e, -ENOSPC,
			"%d tokens wait for their clients, and no more are given", TOKENS_MAX);
	struct token *token = alloc(struct token);
	token->trust = trust;
	token->secret = text_random_hex(SECRET_BYTES);
	token->wanted = json_copy(json_mutable(wanted));
	token->after = trust->tokens;
	trust->tokens = token;
	trust->token_count++;
	char expires_at[TEXT_TIME_SIZE] = "0001-01-01T00:00:00Z";
	const char *expiry = config_get(service, expiry_key.name);
	uint64_t ns;
	if (expiry && text_to_ns(expiry, &ns) == 0) {
		text_format_time(loop_wall_clock() + ns, expires_at);
		token->timer = loop_add_timer(service->loop, on_expired, token);
		timer_set_after(token->timer, ns);
	}
	json_t *metadata = json_pack("{s:s,s:s,s:O,s:{s:O},s:s}", "secret", token->secret,
		"fingerprint", fingerprint, "addresses", owned, "request", "name",
		json_object_get(wanted, "name"), "expiresAt", expires_at);
	token->operation = operation_new(service,
		&(struct operation_options){
			.class = OPERATION_TOKEN,
			.description = "Executing operation",
			.resources = NULL,
			.metadata = metadata,
			.cancel = cancel_token,
			.data = token,
		});
	*ret = token->operation;
	return 0;
}

static int decode_base64(const char *text, char *bytes, size_t size)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0;
	size_t length = 0, count = 0;
	for (; *text && *text != '='; text++) {
		const char *digit = strchr(digits, *text);
		if (!digit)
			return -EINVAL;
		bits = (bits << 6 | (uint32_t)(digit - digits)) & 0xffffff;
		if (count++ % 4 == 0)
			continue;
		if (length + 1 >= size)
			return -EINVAL;
		bytes[length++] = (char)(bits >> (6 - 2 * ((count - 1) % 4)));
	}
	if (strspn(text, "=") != strlen(text) || strlen(text) > 2)
		return -EINVAL;
	bytes[length] = '\0';
	return (int)length;
}

/* The secret of a token as clients show it: base64 of a JSON object, or the secret as it is. */
static char *token_secret(const char *text)
{
	char bytes[TOKEN_TEXT_MAX];
	int length = decode_base64(text, bytes, sizeof(bytes));
	cleanup(json_decref) json_t *json = NULL;
	if (length < 0 || json_parse(bytes, (size_t)length, &json, NULL) < 0)
		return alloc_text(text);
	const char *secret = json_text(json, "secret");
	return alloc_text(secret ? secret : "");
}

static bool is_equal_secret(const char *a, const char *b)
{
	size_t length = strlen(a);
	unsigned char differs = 0;
	if (strlen(b) != length)
		return false;
	for (size_t i = 0; i < length; i++)
		differs |= (unsigned char)(a[i] ^ b[i]);
	return differs == 0;
}

int trust_take_token(struct service *service, const char *text, json_t **ret, struct error *e)
{
	cleanup(free) char *secret = token_secret(text);
	for (struct token *token = service->trust->tokens; token; token = token->after) {
		if (!is_equal_secret(token->secret, secret))
			continue;
		struct operation *operation = token->operation;
		*ret = json_incref(token->wanted);
		free_token(token);
		operation_done(operation, NULL);
		return 0;
	}
	return error_set(e, -EACCES, "not authorized");
}
