/* SPDX-License-Identifier: Apache-2.0 */
/*
 * profile_print.c - runs when berth is built: prints profile.c, the compiled default profiles.
 */
#include <stdio.h>

#include "container/profile_rules.h"

static int print(enum profile profile, const char *name, size_t *ret_length)
{
	cleanup(free) struct sock_filter *filter = NULL;
	struct error e = {};
	int r = profile_compile(profile, &filter, ret_length, &e);
	if (r < 0) {
		(void)fprintf(stderr, "%s: %s\n", name, e.text);
		return r;
	}
	printf("static const struct sock_filter %s[] = {\n", name);
	for (size_t i = 0; i < *ret_length; i++)
		printf("\t{ 0x%x, %u, %u, 0x%x },\n", filter[i].code, filter[i].jt, filter[i].jf,
			filter[i].k);
	printf("};\n\n");
	return 0;
}

int main(void)
{
	static const char *const names[] = { "application", "system_container", "nesting" };
	static_assert(ARRAY_SIZE(names) == PROFILE_COUNT, "a name for each profile");
	printf("#include \"container/profile.h\"\n\n");
	size_t lengths[PROFILE_COUNT] = {};
	for (unsigned int i = 0; i < PROFILE_COUNT; i++)
		if (print(i, names[i], &lengths[i]) < 0)
			return 1;
	printf("const struct profile_program profiles[PROFILE_COUNT] = {\n");
	for (unsigned int i = 0; i < PROFILE_COUNT; i++)
		printf("\t{ %s, %zu },\n", names[i], lengths[i]);
	printf("};\n");
	return 0;
}
