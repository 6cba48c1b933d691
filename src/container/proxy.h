/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy.h - `berth-container proxy`: listens on one side of an instance's walls and connects on the other.
 */
#pragma once

int proxy_main(void);
