/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipmi_suite.c - RAKP-HMAC-SHA256 and HMAC-SHA256-128 (IPMI 2.0, 13.20 to 13.32), by the library's own hooks.
 *
 * The library keeps 20 bytes of a key: the session's own key and K1 are 32, and stay with us.
 */
#include "metal/ipmi_suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <OpenIPMI/ipmi_auth.h>
#include <OpenIPMI/ipmi_conn.h>
#include <OpenIPMI/ipmi_err.h>
#include <OpenIPMI/ipmi_lan.h>
#include <OpenIPMI/ipmiif.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "base/bytes.h"

#define RAKP_HMAC_SHA256 3
#define HMAC_SHA256_128  4
#define HASH_BYTES       32
#define CHECK_BYTES      16 /* of a hash, where it stands behind each message */
#define RANDOM_BYTES     16
#define CONSTANT_BYTES   20
#define AES_KEY_BYTES    16
#define NAME_MAX_BYTES   16
#define NEXT_HEADER      0x07
#define UNSIGNED_BYTES   4 /* of a message, in front: not of the session */

struct rakp {
	ipmi_rmcpp_auth_t *auth;
	ipmi_rmcpp_set_info_cb set;
	ipmi_rmcpp_finish_auth_cb done;
	void *data;
	uint8_t tag;
	uint8_t key[HASH_BYTES]; /* of the session */
	uint8_t k1[HASH_BYTES];  /* made of it, for what stands behind each message */
};

/* Whose keys the library sets just now: its call for integrity names nobody. A console may have a session of its own. */
static const struct rakp *setting;
static void (*tell_begun)(void *user_data);

/* What is hashed, piece after piece. */
struct words {
	uint8_t bytes[96];
	size_t length;
};

static void add(struct words *words, const uint8_t *bytes, size_t length)
{
	assert(words->length + length <= sizeof(words->bytes));
	memcpy(words->bytes + words->length, bytes, length);
	words->length += length;
}

static void add_le32(struct words *words, uint32_t value)
{
	uint8_t bytes[4];
	put_le32(bytes, value);
	add(words, bytes, sizeof(bytes));
}

/* Who we say we are, and as what. */
static void add_user(struct words *words, ipmi_rmcpp_auth_t *auth)
{
	unsigned int most;
	uint8_t length = (uint8_t)ipmi_rmcpp_auth_get_username_len(auth);
	const uint8_t role = ipmi_rmcpp_auth_get_role(auth);
	add(words, &role, 1);
	add(words, &length, 1);
	add(words, ipmi_rmcpp_auth_get_username(auth, &most), length);
}

static int hash(const uint8_t *key, size_t key_length, const uint8_t *bytes, size_t length,
	uint8_t ret[HASH_BYTES])
{
	return gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, key_length, bytes, length, ret) < 0 ? EIO
											    : 0;
}

static int hash_by_password(
	ipmi_rmcpp_auth_t *auth, const struct words *words, uint8_t ret[HASH_BYTES])
{
	unsigned int most;
	/* Zeros behind a key change nothing. */
	const uint8_t *password = ipmi_rmcpp_auth_get_password(auth, &most);
	return hash(password, most, words->bytes, words->length, ret);
}

static const uint8_t *our_random(ipmi_rmcpp_auth_t *auth)
{
	unsigned int most;
	return ipmi_rmcpp_auth_get_my_rand(auth, &most);
}

static const uint8_t *their_random(ipmi_rmcpp_auth_t *auth)
{
	unsigned int most;
	return ipmi_rmcpp_auth_get_mgsys_rand(auth, &most);
}

static const uint8_t *their_guid(ipmi_rmcpp_auth_t *auth)
{
	unsigned int most;
	return ipmi_rmcpp_auth_get_mgsys_guid(auth, &most);
}

static bool is_same(const uint8_t *a, const uint8_t *b, size_t length)
{
	return gnutls_memcmp(a, b, length) == 0;
}

static int check_answer(ipmi_con_t *connection, const ipmi_msg_t *message, size_t least)
{
	if (!connection)
		return ECANCELED;
	if (message->data_len == 1) /* nothing came */
		return (int)IPMI_IPMI_ERR_VAL(message->data[0]);
	if (message->data_len >= 2 && message->data[1])
		return (int)IPMI_RMCPP_ERR_VAL(message->data[1]);
	return message->data_len < least ? EINVAL : 0;
}

static void end(struct rakp *rakp, ipmi_con_t *connection, int address, int code)
{
	rakp->done(connection, code, address, rakp->data);
	explicit_bzero(rakp, sizeof(*rakp));
	free(rakp);
}

static int send_message(struct rakp *rakp, ipmi_con_t *connection, ipmi_msgi_t *item, int address,
	int payload, uint8_t *bytes, size_t length, ipmi_ll_rsp_handler_t answered)
{
	ipmi_rmcpp_addr_t to = { .addr_type = IPMI_RMCPP_ADDR_START + payload };
	ipmi_msg_t message = {
		.netfn = IPMI_RMCPP_DUMMY_NETFN, .data = bytes, .data_len = (unsigned short)length
	};
	item->data1 = rakp;
	return ipmi_lan_send_command_forceip(connection, address, (ipmi_addr_t *)(void *)&to,
		sizeof(to), &message, answered, item);
}

/* The fourth: it knows the session's key. */
static int fourth_came(ipmi_con_t *connection, ipmi_msgi_t *item)
{
	const ipmi_msg_t *message = &item->msg;
	struct rakp *rakp = item->data1;
	int address = (int)(intptr_t)item->data4;
	uint8_t expected[HASH_BYTES];
	struct words words = {};
	int r = check_answer(connection, message, 8 + CHECK_BYTES);
	if (r == 0) {
		add(&words, our_random(rakp->auth), RANDOM_BYTES);
		add_le32(&words, ipmi_rmcpp_auth_get_mgsys_session_id(rakp->auth));
		add(&words, their_guid(rakp->auth), RANDOM_BYTES);
		r = hash(rakp->key, HASH_BYTES, words.bytes, words.length, expected);
	}
	if (r == 0 &&
		(get_le32(message->data + 4) != ipmi_rmcpp_auth_get_my_session_id(rakp->auth) ||
			!is_same(message->data + 8, expected, CHECK_BYTES)))
		r = EINVAL;
	end(rakp, connection, address, r);
	return IPMI_MSG_ITEM_NOT_USED;
}

/* The session's key, K1 for what stands behind each message, K2 for AES. */
static int make_keys(struct rakp *rakp)
{
	struct words words = {};
	unsigned int most;
	uint8_t constant[CONSTANT_BYTES], second[HASH_BYTES];
	add(&words, our_random(rakp->auth), RANDOM_BYTES);
	add(&words, their_random(rakp->auth), RANDOM_BYTES);
	add_user(&words, rakp->auth);
	int r = hash_by_password(rakp->auth, &words, rakp->key);
	memset(constant, 1, sizeof(constant));
	if (r == 0)
		r = hash(rakp->key, HASH_BYTES, constant, sizeof(constant), rakp->k1);
	memset(constant, 2, sizeof(constant));
	if (r == 0)
		r = hash(rakp->key, HASH_BYTES, constant, sizeof(constant), second);
	uint8_t *to = ipmi_rmcpp_auth_get_k2(rakp->auth, &most);
	if (r != 0 || most < AES_KEY_BYTES)
		return r ?: EINVAL;
	memcpy(to, second, AES_KEY_BYTES);
	ipmi_rmcpp_auth_set_k2_len(rakp->auth, AES_KEY_BYTES);
	explicit_bzero(second, sizeof(second));
	return 0;
}

/* The second: it knows the password, and so do we. */
static int take_second(struct rakp *rakp, const ipmi_msg_t *message)
{
	struct words words = {};
	uint8_t expected[HASH_BYTES];
	unsigned int random_most, guid_most;
	ipmi_rmcpp_auth_t *auth = rakp->auth;
	uint8_t *random = ipmi_rmcpp_auth_get_mgsys_rand(auth, &random_most);
	uint8_t *guid = ipmi_rmcpp_auth_get_mgsys_guid(auth, &guid_most);
	if (get_le32(message->data + 4) != ipmi_rmcpp_auth_get_my_session_id(auth) ||
		random_most < RANDOM_BYTES || guid_most < RANDOM_BYTES)
		return EINVAL;
	memcpy(random, message->data + 8, RANDOM_BYTES);
	ipmi_rmcpp_auth_set_mgsys_rand_len(auth, RANDOM_BYTES);
	memcpy(guid, message->data + 24, RANDOM_BYTES);
	ipmi_rmcpp_auth_set_mgsys_guid_len(auth, RANDOM_BYTES);
	add_le32(&words, ipmi_rmcpp_auth_get_my_session_id(auth));
	add_le32(&words, ipmi_rmcpp_auth_get_mgsys_session_id(auth));
	add(&words, our_random(auth), RANDOM_BYTES);
	add(&words, random, RANDOM_BYTES);
	add(&words, guid, RANDOM_BYTES);
	add_user(&words, auth);
	int r = hash_by_password(auth, &words, expected);
	if (r == 0 && !is_same(message->data + 40, expected, HASH_BYTES))
		r = EINVAL;
	return r ?: make_keys(rakp);
}

static int second_came(ipmi_con_t *connection, ipmi_msgi_t *item)
{
	struct rakp *rakp = item->data1;
	int address = (int)(intptr_t)item->data4;
	uint8_t third[8 + HASH_BYTES] = { rakp->tag };
	struct words words = {};
	int r = check_answer(connection, &item->msg, 40 + HASH_BYTES);
	if (r == 0)
		r = take_second(rakp, &item->msg);
	if (r == 0) {
		setting = rakp;
		r = rakp->set(connection, address, rakp->auth, rakp->data);
		setting = NULL;
	}
	if (r == 0) {
		put_le32(third + 4, ipmi_rmcpp_auth_get_mgsys_session_id(rakp->auth));
		add(&words, their_random(rakp->auth), RANDOM_BYTES);
		add_le32(&words, ipmi_rmcpp_auth_get_my_session_id(rakp->auth));
		add_user(&words, rakp->auth);
		r = hash_by_password(rakp->auth, &words, third + 8);
	}
	if (r == 0)
		r = send_message(rakp, connection, item, address, IPMI_RMCPP_PAYLOAD_TYPE_RAKP_3,
			third, sizeof(third), fourth_came);
	if (r == 0)
		return IPMI_MSG_ITEM_USED;
	end(rakp, connection, address, r);
	return IPMI_MSG_ITEM_NOT_USED;
}

static int send_first(struct rakp *rakp, ipmi_con_t *connection, int address)
{
	uint8_t first[28 + NAME_MAX_BYTES] = { rakp->tag };
	unsigned int most, length = ipmi_rmcpp_auth_get_username_len(rakp->auth);
	uint8_t *random = ipmi_rmcpp_auth_get_my_rand(rakp->auth, &most);
	if (most < RANDOM_BYTES || length > NAME_MAX_BYTES)
		return EINVAL;
	ipmi_rmcpp_auth_set_my_rand_len(rakp->auth, RANDOM_BYTES);
	int r = connection->os_hnd->get_random(connection->os_hnd, random, RANDOM_BYTES);
	ipmi_msgi_t *item = r == 0 ? ipmi_alloc_msg_item() : NULL;
	if (!item)
		return r ?: ENOMEM;
	put_le32(first + 4, ipmi_rmcpp_auth_get_mgsys_session_id(rakp->auth));
	memcpy(first + 8, random, RANDOM_BYTES);
	first[24] = ipmi_rmcpp_auth_get_role(rakp->auth);
	first[27] = (uint8_t)length;
	memcpy(first + 28, ipmi_rmcpp_auth_get_username(rakp->auth, &most), length);
	r = send_message(rakp, connection, item, address, IPMI_RMCPP_PAYLOAD_TYPE_RAKP_1, first,
		28 + length, second_came);
	if (r != 0)
		ipmi_free_msg_item(item);
	return r;
}

static int start(ipmi_con_t *connection, int address, unsigned char tag, ipmi_rmcpp_auth_t *auth,
	ipmi_rmcpp_set_info_cb set, ipmi_rmcpp_finish_auth_cb done, void *data)
{
	struct rakp *rakp = alloc(struct rakp);
	*rakp = (struct rakp){ .auth = auth, .set = set, .done = done, .data = data, .tag = tag };
	if (connection->user_data)
		tell_begun(connection->user_data);
	int r = send_first(rakp, connection, address);
	if (r != 0)
		free(rakp);
	return r;
}

static int integrity_init(ipmi_con_t *connection, ipmi_rmcpp_auth_t *auth, void **ret)
{
	(void)connection;
	/* With another's keys it is no suite. */
	if (!setting || setting->auth != auth)
		return EINVAL;
	uint8_t *key = alloc_array(HASH_BYTES, uint8_t);
	memcpy(key, setting->k1, HASH_BYTES);
	*ret = key;
	return 0;
}

static void integrity_free(ipmi_con_t *connection, void *data)
{
	(void)connection;
	explicit_bzero(data, HASH_BYTES);
	free(data);
}

/* So that with the pad's length and what is next the message is a multiple of 4. */
static int integrity_pad(ipmi_con_t *connection, void *data, unsigned char *bytes,
	unsigned int *length, unsigned int most)
{
	unsigned int count = (4 - (*length + 2) % 4) % 4;
	(void)connection;
	(void)data;
	if (*length > most || most - *length < count + 1)
		return E2BIG;
	memset(bytes + *length, 0xff, count);
	bytes[*length + count] = (uint8_t)count;
	*length += count + 1;
	return 0;
}

static int integrity_add(ipmi_con_t *connection, void *data, unsigned char *bytes,
	unsigned int *length, unsigned int most)
{
	uint8_t sum[HASH_BYTES];
	(void)connection;
	if (*length < UNSIGNED_BYTES || *length > most || most - *length < CHECK_BYTES + 1)
		return E2BIG;
	bytes[*length] = NEXT_HEADER;
	*length += 1;
	int r = hash(data, HASH_BYTES, bytes + UNSIGNED_BYTES, *length - UNSIGNED_BYTES, sum);
	memcpy(bytes + *length, sum, CHECK_BYTES);
	*length += CHECK_BYTES;
	return r;
}

static int integrity_check(ipmi_con_t *connection, void *data, unsigned char *bytes,
	unsigned int length, unsigned int all)
{
	uint8_t sum[HASH_BYTES];
	(void)connection;
	if (length < UNSIGNED_BYTES || all < length || all - length < CHECK_BYTES + 1)
		return EINVAL;
	int r = hash(data, HASH_BYTES, bytes + UNSIGNED_BYTES, length + 1 - UNSIGNED_BYTES, sum);
	if (r == 0 && !is_same(sum, bytes + length + 1, CHECK_BYTES))
		r = EINVAL;
	return r;
}

void ipmi_suite_register(unsigned int only, void (*begun)(void *user_data))
{
	/* The library keeps both. */
	static ipmi_rmcpp_authentication_t authentication = { start };
	static ipmi_rmcpp_integrity_t integrity = { integrity_init, integrity_free, integrity_pad,
		integrity_add, integrity_check };
	tell_begun = begun;
	(void)!ipmi_rmcpp_register_authentication(RAKP_HMAC_SHA256, &authentication);
	(void)!ipmi_rmcpp_register_integrity(HMAC_SHA256_128, &integrity);
	/* What is not there is not taken, whatever a BMC answers. */
	for (unsigned int i = 0; only == IPMI_SUITE_SHA256 && i < RAKP_HMAC_SHA256; i++) {
		(void)!ipmi_rmcpp_register_authentication(i, NULL);
		(void)!ipmi_rmcpp_register_integrity(i + 1, NULL);
	}
}

struct ipmi_suite ipmi_suite_of(unsigned int suite)
{
	return suite == IPMI_SUITE_SHA256
		? (struct ipmi_suite){ RAKP_HMAC_SHA256, HMAC_SHA256_128,
			  IPMI_LANP_CONFIDENTIALITY_ALGORITHM_AES_CBC_128 }
		: (struct ipmi_suite){ IPMI_LANP_AUTHENTICATION_ALGORITHM_RAKP_HMAC_SHA1,
			  IPMI_LANP_INTEGRITY_ALGORITHM_HMAC_SHA1_96,
			  IPMI_LANP_CONFIDENTIALITY_ALGORITHM_AES_CBC_128 };
}

bool ipmi_suite_is_refused(int code)
{
	static const uint8_t refusals[] = { IPMI_RMCPP_INVALID_AUTHENTICATION_ALGORITHM,
		IPMI_RMCPP_INVALID_INTEGRITY_ALGORITHM,
		IPMI_RMCPP_NO_MATCHING_AUTHENTICATION_PAYLOAD,
		IPMI_RMCPP_NO_MATCHING_INTEGRITY_PAYLOAD,
		IPMI_RMCPP_INVALID_CONFIDENTIALITY_ALGORITHM, IPMI_RMCPP_NO_CIPHER_SUITE_MATCHES,
		IPMI_RMCPP_ILLEGAL_PARAMETER };
	if (!IPMI_IS_RMCPP_ERR((unsigned int)code))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
		if (IPMI_GET_RMCPP_ERR((unsigned int)code) == refusals[i])
			return true;
	return false;
}
