/* SPDX-License-Identifier: Apache-2.0 */
/*
 * certificate.c - X.509 certificates by GnuTLS.
 */
#include "http/certificate.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

#define YEARS        10
#define YEAR_S       (365 * 24 * 3600)
#define SERIAL_BYTES 16
#define DIGEST_BYTES 32

DEFINE_CLEANUP(gnutls_x509_crt_t, gnutls_x509_crt_deinit);
DEFINE_CLEANUP(gnutls_x509_privkey_t, gnutls_x509_privkey_deinit);

static int failed(struct error *e, int code, const char *what)
{
	return error_set(e, code == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL, "%s: %s", what,
		gnutls_strerror(code));
}

void certificate_done(struct certificate *certificate)
{
	free(certificate->pem);
	certificate->pem = NULL;
}

static char *datum_text(gnutls_datum_t *datum)
{
	struct text text = {};
	text_add_n(&text, datum->data, datum->size);
	gnutls_free(datum->data);
	return text_take(&text);
}

static int import(gnutls_x509_crt_t crt, const void *bytes, size_t length)
{
	const gnutls_datum_t datum = { (unsigned char *)(uintptr_t)bytes, (unsigned int)length };
	if (memmem(bytes, length, "-----BEGIN", 10))
		return gnutls_x509_crt_import(crt, &datum, GNUTLS_X509_FMT_PEM);
	if (gnutls_x509_crt_import(crt, &datum, GNUTLS_X509_FMT_DER) == 0)
		return 0;
	gnutls_datum_t der = {};
	int r = gnutls_base64_decode2(&datum, &der);
	if (r < 0)
		return r;
	r = gnutls_x509_crt_import(crt, &der, GNUTLS_X509_FMT_DER);
	gnutls_free(der.data);
	return r;
}

int certificate_read(const void *bytes, size_t length, struct certificate *ret, struct error *e)
{
	if (length == 0 || length > CERTIFICATE_MAX_SIZE)
		return error_set(
			e, -EINVAL, "a certificate has at most %d bytes", CERTIFICATE_MAX_SIZE);
	cleanup(gnutls_x509_crt_deinit) gnutls_x509_crt_t crt = NULL;
	int r = gnutls_x509_crt_init(&crt);
	if (r == 0)
		r = import(crt, bytes, length);
	if (r < 0)
		return failed(e, r, "this is no certificate");
	unsigned char digest[DIGEST_BYTES];
	size_t size = sizeof(digest);
	gnutls_datum_t pem = {};
	r = gnutls_x509_crt_get_fingerprint(crt, GNUTLS_DIG_SHA256, digest, &size);
	if (r == 0)
		r = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem);
	if (r < 0)
		return failed(e, r, "read the certificate");
	*ret = (struct certificate){
		.pem = datum_text(&pem),
		.from_s = (uint64_t)gnutls_x509_crt_get_activation_time(crt),
		.until_s = (uint64_t)gnutls_x509_crt_get_expiration_time(crt),
	};
	text_hex(digest, sizeof(digest), ret->fingerprint);
	return 0;
}

static int set_names(gnutls_x509_crt_t crt, const char *host)
{
	static const unsigned char loopback4[4] = { 127, 0, 0, 1 };
	static const unsigned char loopback6[16] = { [15] = 1 };
	int r = gnutls_x509_crt_set_dn_by_oid(
		crt, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, "berth", 5);
	if (r == 0)
		r = gnutls_x509_crt_set_dn_by_oid(
			crt, GNUTLS_OID_X520_COMMON_NAME, 0, host, (unsigned int)strlen(host));
	if (r == 0)
		r = gnutls_x509_crt_set_subject_alt_name(
			crt, GNUTLS_SAN_DNSNAME, host, (unsigned int)strlen(host), 0);
	if (r == 0)
		r = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, loopback4,
			sizeof(loopback4), GNUTLS_FSAN_APPEND);
	if (r == 0)
		r = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, loopback6,
			sizeof(loopback6), GNUTLS_FSAN_APPEND);
	return r;
}

static int set_validity(gnutls_x509_crt_t crt)
{
	unsigned char serial[SERIAL_BYTES];
	int r = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));
	/* A serial number is positive. */
	serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40);
	time_t now = time(NULL);
	if (r == 0)
		r = gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
	if (r == 0)
		r = gnutls_x509_crt_set_activation_time(crt, now);
	if (r == 0)
		r = gnutls_x509_crt_set_expiration_time(crt, now + (time_t)YEARS * YEAR_S);
	if (r == 0)
		r = gnutls_x509_crt_set_version(crt, 3);
	if (r == 0)
		r = gnutls_x509_crt_set_basic_constraints(crt, 0, -1);
	if (r == 0)
		r = gnutls_x509_crt_set_key_usage(
			crt, GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_KEY_ENCIPHERMENT);
	if (r == 0)
		r = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
	return r;
}

int certificate_make(const char *host, char **ret_certificate, char **ret_key, struct error *e)
{
	cleanup(gnutls_x509_crt_deinit) gnutls_x509_crt_t crt = NULL;
	cleanup(gnutls_x509_privkey_deinit) gnutls_x509_privkey_t key = NULL;
	gnutls_datum_t pem = {}, key_pem = {};
	int r = gnutls_x509_privkey_init(&key);
	if (r == 0)
		r = gnutls_x509_crt_init(&crt);
	if (r == 0)
		r = gnutls_x509_privkey_generate(
			key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1), 0);
	if (r == 0)
		r = gnutls_x509_crt_set_key(crt, key);
	if (r == 0)
		r = set_validity(crt);
	if (r == 0)
		r = set_names(crt, host);
	if (r == 0)
		r = gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA384, 0);
	if (r == 0)
		r = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem);
	if (r < 0)
		return failed(e, r, "make a certificate");
	r = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &key_pem);
	if (r < 0) {
		gnutls_free(pem.data);
		return failed(e, r, "make a certificate");
	}
	*ret_certificate = datum_text(&pem);
	*ret_key = datum_text(&key_pem);
	return 0;
}
