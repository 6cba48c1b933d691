/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret.c - GnuTLS's AEAD around a text.
 */
#include "daemon/server/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "base/file.h"
#include "base/text.h"

#define KEY_FILE    "secret.key"
#define KEY_BYTES   32
#define NONCE_BYTES 12
#define TAG_BYTES   16
#define PLAIN_MAX   4096

static int read_key(struct service *service, uint8_t key[KEY_BYTES], struct error *e)
{
	cleanup(close) int fd = openat(service->dir, KEY_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0) {
		int r = file_read_at(fd, key, KEY_BYTES, 0);
		return r < 0 ? error_code(e, r, "read %s/" KEY_FILE, service->dir_path) : 0;
	}
	if (errno != ENOENT)
		return error_errno(e, "open %s/" KEY_FILE, service->dir_path);
	if (getrandom(key, KEY_BYTES, 0) != KEY_BYTES)
		return error_errno(e, "make a key");
	return file_replace(service->dir, KEY_FILE, key, KEY_BYTES, 0600, e);
}

static int open_cipher(struct service *service, gnutls_aead_cipher_hd_t *ret, struct error *e)
{
	uint8_t key[KEY_BYTES];
	const gnutls_datum_t datum = { key, sizeof(key) };
	int r = read_key(service, key, e);
	if (r == 0 && gnutls_aead_cipher_init(ret, GNUTLS_CIPHER_AES_256_GCM, &datum) < 0)
		r = error_set(e, -EIO, "GnuTLS has no AES-256-GCM");
	explicit_bzero(key, sizeof(key));
	return r;
}

int secret_seal(
	struct service *service, const char *name, const char *plain, char **ret, struct error *e)
{
	size_t length = strlen(plain), sealed = length + TAG_BYTES;
	if (length > PLAIN_MAX)
		return error_set(e, -E2BIG, "a secret has at most %d bytes", PLAIN_MAX);
	gnutls_aead_cipher_hd_t cipher;
	int r = open_cipher(service, &cipher, e);
	if (r < 0)
		return r;
	cleanup(free) uint8_t *bytes = alloc_array(NONCE_BYTES + sealed, uint8_t);
	if (getrandom(bytes, NONCE_BYTES, 0) != NONCE_BYTES)
		r = error_errno(e, "make a nonce");
	if (r == 0 &&
		gnutls_aead_cipher_encrypt(cipher, bytes, NONCE_BYTES, name, strlen(name),
			TAG_BYTES, plain, length, bytes + NONCE_BYTES, &sealed) < 0)
		r = error_set(e, -EIO, "a secret could not be sealed");
	gnutls_aead_cipher_deinit(cipher);
	if (r < 0)
		return r;
	char *hex = alloc_array(2 * (NONCE_BYTES + sealed) + 1, char);
	text_hex(bytes, NONCE_BYTES + sealed, hex);
	*ret = hex;
	return 0;
}

int secret_open(
	struct service *service, const char *name, const char *sealed, char **ret, struct error *e)
{
	size_t length = strlen(sealed) / 2;
	if (length < NONCE_BYTES + TAG_BYTES || length > NONCE_BYTES + TAG_BYTES + PLAIN_MAX)
		return error_set(e, -EBADMSG, "the secret of %s is broken", name);
	cleanup(free) uint8_t *bytes = alloc_array(length, uint8_t);
	size_t plain_length = length - NONCE_BYTES - TAG_BYTES;
	char *plain = alloc_array(plain_length + TAG_BYTES + 1, char);
	gnutls_aead_cipher_hd_t cipher;
	int r = text_from_hex(sealed, bytes, length) < 0
		? error_set(e, -EBADMSG, "the secret of %s is broken", name)
		: open_cipher(service, &cipher, e);
	if (r == 0) {
		plain_length += TAG_BYTES;
		if (gnutls_aead_cipher_decrypt(cipher, bytes, NONCE_BYTES, name, strlen(name),
			    TAG_BYTES, bytes + NONCE_BYTES, length - NONCE_BYTES, plain,
			    &plain_length) < 0)
			r = error_set(e, -EBADMSG,
				"the secret of %s was sealed with another key than %s/" KEY_FILE,
				name, service->dir_path);
		gnutls_aead_cipher_deinit(cipher);
	}
	if (r < 0) {
		free(plain);
		return r;
	}
	plain[plain_length] = '\0';
	*ret = plain;
	return 0;
}
