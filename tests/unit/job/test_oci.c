/* SPDX-License-Identifier: Apache-2.0 */
#include "job/oci.h"

#include <errno.h>
#include <sys/utsname.h>

#include "base/text.h"
#include "test.h"

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define CONFIG \
	"\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\"," \
	"\"digest\":\"sha256:" HEX_A "\",\"size\":2}"
#define LAYER \
	"{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\"," \
	"\"digest\":\"sha256:" HEX_B "\",\"size\":3}"

static struct error failure;

static void refuse_manifest(const char *json, const char *why)
{
	struct oci_manifest manifest;
	failure = (struct error){};
	expect_equal(oci_read_manifest(json, strlen(json), &manifest, &failure), -EINVAL);
	expect_contains(failure.text, why);
}

static void reads_a_manifest(void)
{
	const char *json = "{\"schemaVersion\":2," CONFIG ",\"layers\":[" LAYER "]}";
	struct oci_manifest manifest;
	if (oci_read_manifest(json, strlen(json), &manifest, &failure) < 0)
		test_fail("%s", failure.text);
	expect_equal(manifest.layer_count, 1);
	expect_text(manifest.config.digest, HEX_A);
	expect_text(manifest.layers[0].digest, HEX_B);
	expect_equal(manifest.layers[0].size, 3);
}

static void refuses_two_readings(void)
{
	refuse_manifest("{\"schemaVersion\":2," CONFIG ",\"layers\":[" LAYER "],\"manifests\":[]}",
		"an index at the same time");
	refuse_manifest("{\"schemaVersion\":2," CONFIG ",\"layers\":[" LAYER "],\"layers\":[" LAYER
			"]}",
		"no JSON object");
	refuse_manifest("{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+"
			"json\"," CONFIG ",\"layers\":[" LAYER "]}",
		"says that it is");
	refuse_manifest("{\"schemaVersion\":1," CONFIG ",\"layers\":[" LAYER "]}", "version 2");
	refuse_manifest("{\"schemaVersion\":2," CONFIG ",\"layers\":[]}", "0 layers");
}

static void refuses_bad_blobs(void)
{
	refuse_manifest("{\"schemaVersion\":2," CONFIG
			",\"layers\":[{\"mediaType\":\"text/plain\",\"digest\":\"sha256:" HEX_A
			"\",\"size\":1}]}",
		"text/plain");
	refuse_manifest(
		"{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"mediaType\":"
		"\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:../../etc\","
		"\"size\":1}]}",
		"no sha256 digest");
	refuse_manifest("{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"mediaType\":"
			"\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:" HEX_A
			"\",\"size\":-1}]}",
		"size");
	refuse_manifest("{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"mediaType\":"
			"\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:" HEX_A
			"\",\"size\":1,\"urls\":[\"http://127.0.0.1/\"]}]}",
		"urls");
}

static void finds_by_name_and_machine(void)
{
	struct utsname here;
	expect_equal(uname(&here), 0);
	const char *ours = text_equal(here.machine, "x86_64") ? "amd64" : "arm64";
	cleanup(free) char *json = alloc_printf(
		"{\"schemaVersion\":2,\"manifests\":["
		"{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:%s\","
		"\"size\":1,\"platform\":{\"architecture\":\"s390x\",\"os\":\"linux\"}},"
		"{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:%s\","
		"\"size\":2,\"platform\":{\"architecture\":\"%s\",\"os\":\"linux\"},"
		"\"annotations\":{\"org.opencontainers.image.ref.name\":\"v1\"}}]}",
		HEX_A, HEX_B, ours);
	struct oci_blob blob;
	bool is_index;
	if (oci_find_manifest(json, strlen(json), NULL, &blob, &is_index, &failure) < 0)
		test_fail("%s", failure.text);
	expect_text(blob.digest, HEX_B);
	expect_equal(oci_find_manifest(json, strlen(json), "v1", &blob, &is_index, &failure), 0);
	expect_equal(
		oci_find_manifest(json, strlen(json), "v2", &blob, &is_index, &failure), -ENOENT);
	expect_contains(failure.text, "no image \"v2\"");
}

static void reads_a_config(void)
{
	const char *json =
		"{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
		"\"diff_ids\":[\"sha256:" HEX_A
		"\"]},\"config\":{\"Entrypoint\":[\"/bin/sh\",\"-c\"],"
		"\"Cmd\":[\"echo it's; $x\"],\"Env\":[\"PATH=/bin\",\"A=b=c\"],\"User\":\"1000:50\","
		"\"WorkingDir\":\"/srv\",\"StopSignal\":\"SIGTERM\",\"Volumes\":{\"/data\":{}}}}";
	json_t *got = NULL;
	if (oci_read_config(json, strlen(json), 1, &got, &failure) < 0)
		test_fail("%s", failure.text);
	json_t *config = json_object_get(got, "config");
	expect_text(json_string_value(json_object_get(got, "architecture")), "x86_64");
	expect_text(json_string_value(json_object_get(config, "oci.entrypoint")),
		"/bin/sh -c 'echo it'\\''s; $x'");
	expect_text(json_string_value(json_object_get(config, "environment.A")), "b=c");
	expect_text(json_string_value(json_object_get(config, "oci.uid")), "1000");
	expect_text(json_string_value(json_object_get(config, "oci.gid")), "50");
	expect_text(json_string_value(json_object_get(config, "oci.cwd")), "/srv");
	expect_text(json_string_value(json_object_get(config, "oci.stop_signal")), "SIGTERM");
	json_decref(got);
	expect_equal(oci_read_config(json, strlen(json), 2, &got, &failure), -EINVAL);
	expect_contains(failure.text, "names 1 layers, the manifest 2");
}

static void refuses_bad_environment(void)
{
	const char *json = "{\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":[]},"
			   "\"config\":{\"Env\":[\"PATH\"]}}";
	json_t *got = NULL;
	expect_equal(oci_read_config(json, strlen(json), 0, &got, &failure), -EINVAL);
	expect_contains(failure.text, "config.Env: entry 0");
}

static const struct test tests[] = {
	{ "a manifest is read", reads_a_manifest },
	{ "a manifest that could be read in two ways is refused", refuses_two_readings },
	{ "blobs without digest, size or known type are refused", refuses_bad_blobs },
	{ "the manifest for this machine is found, by name too", finds_by_name_and_machine },
	{ "the configuration becomes defaults of instances", reads_a_config },
	{ "an environment without = is refused", refuses_bad_environment },
};

TEST_MAIN(tests)
