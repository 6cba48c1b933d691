/* SPDX-License-Identifier: Apache-2.0 */
/*
 * areas.h - how the areas say what came of a call.
 */
#pragma once

#define SAY(what) say(#what, (long)(what))
void say(const char *what, long result);

void sockets(void);
void processes(void);
void spells(void);
void missing(void);
void edges(void);
