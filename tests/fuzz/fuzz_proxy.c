/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_proxy.c - addresses of proxy devices, whatever they say: two lines, listen and connect.
 */
#include <string.h>

#include "base/text.h"
#include "model/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(free) char *text = alloc_text_n((const char *)data, size);
	char *second = text;
	const char *first = strsep(&second, "\n");
	struct proxy_address listen, connect;
	if (proxy_address_parse(first, &listen, NULL) < 0)
		return 0;
	if ((listen.protocol == PROXY_UNIX) != (listen.path[0] != '\0') ||
		(listen.protocol != PROXY_UNIX) != (listen.port_count > 0))
		abort();
	if (second && proxy_address_parse(second, &connect, NULL) == 0)
		(void)!proxy_check_pair(&listen, &connect, NULL);
	return 0;
}
