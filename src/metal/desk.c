/* SPDX-License-Identifier: Apache-2.0 */
/*
 * desk.c - one question after another.
 */
#include "metal/desk.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "metal/quirk.h"
#include "model/json.h"

#define LOOK_FIRST_NS (100 * NS_PER_MS)
#define LOOK_LAST_NS  (2 * NS_PER_SEC)

enum verb { STATE, POWER, BOOT, IDENTITY, SENSORS, EVENTS, MEDIA, VERBS };

static const struct {
	const char *name;
	uint64_t deadline_ns;
} verbs[] = {
	[STATE] = { "state", 20 * NS_PER_SEC },
	[POWER] = { "power", 60 * NS_PER_SEC },
	[BOOT] = { "boot", 30 * NS_PER_SEC },
	[IDENTITY] = { "identity", 20 * NS_PER_SEC },
	[SENSORS] = { "sensors", 60 * NS_PER_SEC },
	[EVENTS] = { "events", 60 * NS_PER_SEC },
	[MEDIA] = { "media", 60 * NS_PER_SEC },
};
static_assert(ARRAY_SIZE(verbs) == VERBS, "a verb has no name");

struct question {
	struct question *next;
	enum verb verb;
	enum bmc_action action;
	struct bmc_boot boot;
	char *url;
	desk_done *done;
	void *data;
	/* While it is answered. */
	uint64_t deadline_ns, again_ns, look_ns;
	bool is_repeated, has_written;
	struct bmc_state seen;
	struct error why; /* a write failed; it may pass */
};

struct desk {
	struct desk_options options;
	struct question *first, *last;
	bool is_busy;  /* the first one is being answered */
	bool is_known; /* who the BMC is, and so its quirks */
	struct source *deadline, *look;
};

static void next(struct desk *desk);

static void question_free(struct question *question)
{
	free(question->url);
	free(question);
}

static void over(struct desk *desk, int code, json_t *result, const struct error *e)
{
	static const struct error none;
	struct question *question = desk->first;
	desk->first = question->next;
	if (!desk->first)
		desk->last = NULL;
	desk->is_busy = false;
	timer_stop(desk->deadline);
	timer_stop(desk->look);
	question->done(question->data, code, result, e ?: &none);
	question_free(question);
	next(desk);
}

static void over_state(struct desk *desk, const struct bmc_state *state)
{
	cleanup(json_decref) json_t *result = json_pack("{s:s, s:{s:s, s:b, s:b, s:b}}", "power",
		bmc_power_name(state->power), "boot", "device", bmc_device_name(state->boot.device),
		"persistent", state->boot.is_persistent, "uefi", state->boot.is_uefi, "valid",
		state->is_boot_valid);
	over(desk, 0, result, NULL);
}

static void late_text(const struct question *question, struct error *e)
{
	if (question->why.text[0])
		error_set(e, -ETIMEDOUT, "%s: %.300s", verbs[question->verb].name,
			question->why.text);
	else if (question->verb == MEDIA)
		error_set(e, -ETIMEDOUT, "media: the BMC does not answer, or says that %s",
			question->url ? "no disc is in its drive" : "the disc is still in");
	else if (!question->has_written)
		error_set(e, -ETIMEDOUT, "%s: the BMC does not answer", verbs[question->verb].name);
	else if (question->verb == POWER)
		error_set(e, -ETIMEDOUT, "power %s: the BMC took it, but the power is still %s",
			bmc_action_name(question->action), bmc_power_name(question->seen.power));
	else
		error_set(e, -ETIMEDOUT, "boot: the BMC took \"%s\", but says \"%s\"",
			bmc_device_name(question->boot.device),
			bmc_device_name(question->seen.boot.device));
}

static void is_late(void *data)
{
	struct desk *desk = data;
	struct error e = {};
	late_text(desk->first, &e);
	desk->options.bmc->driver->cancel(desk->options.bmc);
	over(desk, -ETIMEDOUT, NULL, &e);
}

static void json_came(void *data, int code, json_t *result, const struct error *e)
{
	over(data, code, result, e);
}

static void plain_came(void *data, int code, const struct error *e)
{
	over(data, code, NULL, e);
}

static void state_came(void *data, int code, const struct bmc_state *state, const struct error *e)
{
	if (code < 0)
		over(data, code, NULL, e);
	else
		over_state(data, state);
}

static void look(void *data);

static void look_later(struct desk *desk)
{
	struct question *question = desk->first;
	timer_set_after(desk->look, question->look_ns);
	question->look_ns *= 2;
	if (question->look_ns > LOOK_LAST_NS)
		question->look_ns = LOOK_LAST_NS;
}

static void write_it(struct desk *desk);

static bool is_so(const struct desk *desk, const struct question *question)
{
	const struct bmc_state *seen = &question->seen;
	uint32_t quirks = desk->options.bmc->quirks;
	if (question->verb == POWER)
		return seen->power == (question->action == BMC_OFF ? BMC_POWER_OFF : BMC_POWER_ON);
	if (seen->boot.device != question->boot.device)
		return false;
	return seen->is_boot_valid || question->boot.device == BMC_BOOT_NONE ||
		(quirks & QUIRK_BOOT_FLAG_INVALID);
}

static void looked(void *data, int code, const struct bmc_state *state, const struct error *e)
{
	struct desk *desk = data;
	struct question *question = desk->first;
	if (code < 0) {
		/* It may be busy with what it was told: a failure to read is no answer yet. */
		if (code == -EACCES) {
			over(desk, code, NULL, e);
			return;
		}
		look_later(desk);
		return;
	}
	question->seen = *state;
	if (is_so(desk, question)) {
		over_state(desk, state);
		return;
	}
	if (!question->is_repeated && loop_now() >= question->again_ns) {
		question->is_repeated = true;
		write_it(desk);
		return;
	}
	look_later(desk);
}

static void look(void *data)
{
	struct desk *desk = data;
	desk->options.bmc->driver->state(desk->options.bmc, looked, desk);
}

static void written(void *data, int code, const struct error *e)
{
	struct desk *desk = data;
	struct question *question = desk->first;
	bool may_pass = code == -EIO || code == -EBUSY || code == -ECONNRESET || code == -ETIMEDOUT;
	if (may_pass && !question->is_repeated) {
		/* Once more, after a look: it may have been done all the same. */
		question->why = *e;
		question->again_ns = 0;
		look_later(desk);
		return;
	}
	if (code < 0) {
		over(desk, code, NULL, e);
		return;
	}
	question->has_written = true;
	question->why = (struct error){};
	/* The operating system may take its time, or refuse. */
	if (question->verb == POWER && question->action == BMC_SOFT)
		over_state(desk, &question->seen);
	else
		look_later(desk);
}

static void write_it(struct desk *desk)
{
	struct bmc *bmc = desk->options.bmc;
	struct question *question = desk->first;
	if (question->verb == POWER)
		bmc->driver->power(bmc, question->action, written, desk);
	else
		bmc->driver->boot(bmc, &question->boot, written, desk);
}

/* Before a change of power: maybe nothing is to be done. */
static void power_known(void *data, int code, const struct bmc_state *state, const struct error *e)
{
	struct desk *desk = data;
	struct question *question = desk->first;
	if (code < 0) {
		over(desk, code, NULL, e);
		return;
	}
	question->seen = *state;
	bool is_on = state->power == BMC_POWER_ON, is_off = state->power == BMC_POWER_OFF;
	if ((question->action == BMC_ON && is_on) ||
		((question->action == BMC_OFF || question->action == BMC_SOFT) && is_off)) {
		over_state(desk, state);
		return;
	}
	/* What is off has nothing to cycle. */
	if (is_off && (question->action == BMC_CYCLE || question->action == BMC_RESET))
		question->action = BMC_ON;
	write_it(desk);
}

static void begin(struct desk *desk, struct question *question);

static void is_met(void *data, int code, json_t *result, const struct error *e)
{
	struct desk *desk = data;
	(void)result;
	if (code == -EACCES) {
		over(desk, code, NULL, e);
		return;
	}
	desk->is_known = true;
	begin(desk, desk->first);
}

static void begin(struct desk *desk, struct question *question)
{
	struct bmc *bmc = desk->options.bmc;
	/* What it does otherwise than others must be known before it is told anything. */
	if (!desk->is_known && (question->verb == POWER || question->verb == BOOT)) {
		bmc->driver->identity(bmc, is_met, desk);
		return;
	}
	desk->is_known |= question->verb == IDENTITY;
	switch (question->verb) {
	case STATE:
		bmc->driver->state(bmc, state_came, desk);
		break;
	case POWER:
		bmc->driver->state(bmc, power_known, desk);
		break;
	case BOOT:
		write_it(desk);
		break;
	case IDENTITY:
		bmc->driver->identity(bmc, json_came, desk);
		break;
	case SENSORS:
		bmc->driver->sensors(bmc, json_came, desk);
		break;
	case EVENTS:
		bmc->driver->events(bmc, json_came, desk);
		break;
	case MEDIA:
		bmc->driver->media(bmc, question->url, plain_came, desk);
		break;
	case VERBS:
		break;
	}
}

static void next(struct desk *desk)
{
	struct question *question = desk->first;
	if (desk->is_busy || !question)
		return;
	uint64_t limit = verbs[question->verb].deadline_ns;
	if (question->verb == POWER && (desk->options.bmc->quirks & QUIRK_SLOW_POWER))
		limit *= 3;
	if (desk->options.deadline_ns && desk->options.deadline_ns < limit)
		limit = desk->options.deadline_ns;
	desk->is_busy = true;
	question->deadline_ns = loop_now() + limit;
	question->again_ns = loop_now() + limit / 3;
	question->look_ns = LOOK_FIRST_NS;
	timer_set(desk->deadline, question->deadline_ns);
	begin(desk, question);
}

static int read_boot(const json_t *request, struct bmc_boot *ret, struct error *e)
{
	const char *device = NULL;
	int r = json_require_text(request, "", "device", &device, e);
	if (r == 0)
		r = json_read_bool(request, "", "persistent", &ret->is_persistent, e);
	if (r == 0)
		r = json_read_bool(request, "", "uefi", &ret->is_uefi, e);
	if (r < 0)
		return r;
	if (bmc_device_read(device, &ret->device) < 0)
		return error_set(e, -EINVAL,
			"device: \"%.40s\" is none of network, disk, cdrom, setup, none", device);
	return 0;
}

static int read_verb(const json_t *request, enum verb *ret, struct error *e)
{
	const char *name = NULL;
	int r = json_require_text(request, "", "do", &name, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (!text_equal(verbs[i].name, name))
			continue;
		*ret = (enum verb)i;
		return 0;
	}
	return error_set(e, -EINVAL, "do: \"%.40s\" is nothing that a BMC can be asked", name);
}

static int read_question(
	struct desk *desk, const json_t *request, struct question *question, struct error *e)
{
	const char *word = NULL;
	int r = read_verb(request, &question->verb, e);
	if (r < 0)
		return r;
	if (question->verb == BOOT)
		return read_boot(request, &question->boot, e);
	if (question->verb == POWER) {
		r = json_require_text(request, "", "to", &word, e);
		if (r == 0 && bmc_action_read(word, &question->action) < 0)
			r = error_set(e, -EINVAL,
				"to: \"%.40s\" is none of on, off, soft, cycle, reset", word);
		return r;
	}
	if (question->verb == MEDIA) {
		if (!(desk->options.bmc->driver->can & BMC_CAN_MEDIA))
			return error_set(e, -EOPNOTSUPP, "%s has no virtual media",
				desk->options.bmc->driver->name);
		r = json_read_text(request, "", "url", &word, e);
		question->url = alloc_text(word);
	}
	return r;
}

int desk_ask(struct desk *desk, const json_t *request, desk_done *done, void *data, struct error *e)
{
	size_t waiting = 0;
	for (const struct question *at = desk->first; at; at = at->next)
		waiting++;
	if (waiting >= DESK_QUEUE_MAX)
		return error_set(
			e, -EBUSY, "%d questions to the BMC are not answered yet", DESK_QUEUE_MAX);
	struct question *question = alloc(struct question);
	int r = read_question(desk, request, question, e);
	if (r < 0) {
		question_free(question);
		return r;
	}
	question->done = done;
	question->data = data;
	if (desk->last)
		desk->last->next = question;
	else
		desk->first = question;
	desk->last = question;
	next(desk);
	return 0;
}

bool desk_is_idle(const struct desk *desk)
{
	return !desk->first;
}

struct desk *desk_new(const struct desk_options *options)
{
	struct desk *desk = alloc(struct desk);
	desk->options = *options;
	desk->deadline = loop_add_timer(options->loop, is_late, desk);
	desk->look = loop_add_timer(options->loop, look, desk);
	return desk;
}

void desk_free(struct desk *desk)
{
	if (!desk)
		return;
	if (desk->is_busy)
		desk->options.bmc->driver->cancel(desk->options.bmc);
	while (desk->first) {
		struct question *question = desk->first;
		desk->first = question->next;
		question_free(question);
	}
	source_free(desk->deadline);
	source_free(desk->look);
	free(desk);
}
