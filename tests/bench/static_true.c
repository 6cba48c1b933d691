/* SPDX-License-Identifier: Apache-2.0 */
/*
 * static_true.c - the smallest program: it ends.
 */
int main(void)
{
	return 0;
}
