/* SPDX-License-Identifier: Apache-2.0 */
#include "metadata/tree.h"

#include <string.h>

#include "model/json.h"
#include "test.h"

static json_t *document(void)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", "web", "instance-id", "id-1", "ipv4",
		"10.0.0.5", "user-data", "#cloud-config\n", "meta-data", "colour: green");
}

static void expect_file(const char *path, const char *wanted)
{
	cleanup(json_decref) json_t *all = document();
	cleanup(free) char *text = tree_read(all, path);
	if (wanted)
		expect_text(text, wanted);
	else
		expect(text == NULL);
}

static void reads_files(void)
{
	expect_file("/latest/meta-data/instance-id", "id-1");
	expect_file("/latest/user-data", "#cloud-config\n");
	expect_file(
		"/nocloud/meta-data", "instance-id: id-1\nlocal-hostname: web\ncolour: green\n");
	expect_file("/nocloud/vendor-data", "");
	expect_file("/nocloud/network-config", NULL);
}

static void lists_what_is_there(void)
{
	expect_file("/", "latest/\nnocloud/\nopenstack/");
	expect_file("/latest", "meta-data/\nuser-data");
	expect_file("/latest/meta-data/",
		"ami-launch-index\nhostname\ninstance-id\nlocal-hostname\nlocal-ipv4");
}

static void takes_dates_and_slashes(void)
{
	expect_file("/2009-04-04//meta-data/instance-id", "id-1");
	expect_file("/openstack/2012-08-10/user_data", "#cloud-config\n");
	expect_file("latest/user-data/", "#cloud-config\n");
	expect_file("/2009-4-4/user-data", NULL);
}

static void finds_nothing_else(void)
{
	expect_file("/latest/../latest/user-data", NULL);
	expect_file("/latest/user-dat", NULL);
	expect_file("/latest/meta-data/instance-id/x", NULL);
	expect_file("/latest/meta-dat", NULL);
	expect_file("/%2e/", NULL);
	char path[1000];
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	expect_file(path, NULL);
}

static const struct test tests[] = {
	{ "files are read", reads_files },
	{ "a directory lists what is there, and only that", lists_what_is_there },
	{ "a date is as good as latest, a slash more is no other path", takes_dates_and_slashes },
	{ "nothing else is found", finds_nothing_else },
};

TEST_MAIN(tests)
