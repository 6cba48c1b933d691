/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto.c - OpenSSL's own code for a fixed amount of work, so that time is CPU time and not its clock.
 *
 * usage: crypto aes-128-gcm|chacha20|sha256 COUNT    COUNT blocks of 16 KiB
 *        crypto rsa COUNT KEY                        COUNT signatures by the key in PEM
 * Prints a number that depends on what came out.
 */
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 16384

static uint8_t block[BLOCK], out[BLOCK + 64];

static uint64_t mixed(const uint8_t *bytes, size_t count)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < count; i++)
		sum = sum * 31 + bytes[i];
	return sum;
}

static void must(int is_ok)
{
	if (is_ok > 0)
		return;
	fprintf(stderr, "crypto: OpenSSL refuses\n");
	exit(1);
}

static uint64_t encrypt(const EVP_CIPHER *cipher, uint64_t count)
{
	static const uint8_t key[32] = { 1, 2, 3 }, nonce[16] = { 4, 5, 6 };
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	uint64_t sum = 0;
	int length = 0;
	must(EVP_EncryptInit_ex(context, cipher, NULL, key, nonce));
	while (count-- > 0) {
		must(EVP_EncryptUpdate(context, out, &length, block, BLOCK));
		sum = sum * 31 + out[count % BLOCK];
	}
	must(EVP_EncryptFinal_ex(context, out, &length));
	EVP_CIPHER_CTX_free(context);
	return sum;
}

static uint64_t digest(const EVP_MD *kind, uint64_t count)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t result[EVP_MAX_MD_SIZE];
	unsigned length = 0;
	must(EVP_DigestInit_ex(context, kind, NULL));
	while (count-- > 0)
		must(EVP_DigestUpdate(context, block, BLOCK));
	must(EVP_DigestFinal_ex(context, result, &length));
	EVP_MD_CTX_free(context);
	return mixed(result, length);
}

/* Signatures without randomness, so that they are the same everywhere. */
static uint64_t sign(const char *key_file, uint64_t count)
{
	uint8_t signature[512];
	uint64_t sum = 0;
	FILE *file = fopen(key_file, "r");
	EVP_PKEY *key = file ? PEM_read_PrivateKey(file, NULL, NULL, NULL) : NULL;
	must(key != NULL);
	fclose(file);
	while (count-- > 0) {
		size_t length = sizeof(signature);
		EVP_MD_CTX *context = EVP_MD_CTX_new();
		block[0]++;
		must(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key));
		must(EVP_DigestSign(context, signature, &length, block, 64));
		EVP_MD_CTX_free(context);
		sum = sum * 31 + mixed(signature, length);
	}
	EVP_PKEY_free(key);
	return sum;
}

int main(int argc, char **argv)
{
	uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : 0, result;
	if (argc == 3 && strcmp(argv[1], "aes-128-gcm") == 0)
		result = encrypt(EVP_aes_128_gcm(), count);
	else if (argc == 3 && strcmp(argv[1], "chacha20") == 0)
		result = encrypt(EVP_chacha20(), count);
	else if (argc == 3 && strcmp(argv[1], "sha256") == 0)
		result = digest(EVP_sha256(), count);
	else if (argc == 4 && strcmp(argv[1], "rsa") == 0)
		result = sign(argv[3], count);
	else
		return 2;
	printf("%016" PRIx64 "\n", result);
	return 0;
}
