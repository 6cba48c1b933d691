/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deploy.h - the agent as the system of a server that is nobody's, or changes hands.
 *
 * The kernel's command line says whom to call:
 *   berth.call=http://ADDRESS:PORT/agent/TOKEN   berth.nic=MAC   berth.address=ADDRESS/PREFIX
 * The agent POSTs /hello with its inventory, then asks for one task after another by GET /task: lines of
 * KEY VALUE, the first of them `task NAME` and `serial N`. It POSTs /progress (`serial`, `stage`, `done`, `total`)
 * on the way and /done (`serial`, then `ok` or `failed`, then lines) at the end.
 *   wait      asks again at once: the daemon answers when there is something to do
 *   erase     all disks; DISK METHOD MILLISECONDS a line in /done
 *   deploy    image PATH, digest HEX, disk NAME; then file MODE PATH HEX...; the image on the disk with its files
 *             (plain yes: without them, as the disk was saved); agentfile MODE PATH HEX: also then, if the system
 *             has our agent that calls
 *   save      disk NAME: all of it to /disk?at=OFFSET; bytes N and digest HEX in /done
 *   boot      how kexec|reboot, disk NAME: the tenant's system; /done goes out before
 *   rescue    file MODE PATH HEX...: a shell on the console, and ssh for who has a key there
 *   off
 * A disk is called by its serial number, if it has one: names change from start to start.
 */
#pragma once

#include "base/base.h"

/* True if the command line says whom to call. */
bool deploy_is_wanted(void);

void deploy_run(void) __attribute__((__noreturn__));
