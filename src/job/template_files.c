/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template_files.c - each template's file becomes its `content`: they are few and short.
 */
#include "job/template_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "model/json.h"

static int read_one(int stage, const char *name, size_t *total, json_t **ret, struct error *e)
{
	struct stat status;
	cleanup(free) char *below = alloc_printf("templates/%s", name);
	cleanup(close) int fd = file_open_beneath(stage, below, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
		return error_set(e, -EINVAL, "templates/%.80s: there is no such file", name);
	size_t size = (size_t)status.st_size;
	if (size > TEMPLATE_FILES_BYTES_MAX || *total + size > TEMPLATE_FILES_BYTES_MAX)
		return error_set(
			e, -E2BIG, "templates/: more than %d bytes", (int)TEMPLATE_FILES_BYTES_MAX);
	cleanup(free) char *content = alloc_zeroed(1, size + 1);
	int r = file_read_at(fd, content, size, 0);
	json_t *text = r < 0 ? NULL : json_stringn(content, size);
	if (!text || strlen(content) != size) {
		json_decref(text);
		return error_set(e, -EINVAL, "templates/%.80s: no text in UTF-8", name);
	}
	*total += size;
	*ret = text;
	return 0;
}

int template_files_read(int stage, const json_t *templates, struct error *e)
{
	size_t total = 0;
	const char *path;
	json_t *template, *text = NULL;
	json_object_foreach(json_mutable(templates), path, template)
	{
		const char *name = json_text(template, "template");
		if (!name || !*name || strchr(name, '/'))
			return error_set(e, -EINVAL,
				"metadata.yaml: templates.%.80s: template must name a file of templates/",
				path);
		int r = read_one(stage, name, &total, &text, e);
		if (r < 0)
			return r;
		json_object_set_new(template, "content", text);
	}
	return 0;
}
