/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vector.c - rows in the vector registers, a number or four at a time.
 */
#include <string.h>
#include <xmmintrin.h>

#include "suite.h"

#define BODIES 5
#define SIDE   128 /* of the matrices */
#define PIXELS 64

struct body {
	double at[3], speed[3], mass;
};

/* A square root without a library that would choose by the processor. */
static double root(double x)
{
	double y;
	__asm__("sqrtsd %1, %0" : "=x"(y) : "x"(x));
	return y;
}

static void pull(struct body *a, struct body *b, double dt)
{
	double away[3], square = 0.01;
	for (int i = 0; i < 3; i++) {
		away[i] = a->at[i] - b->at[i];
		square += away[i] * away[i];
	}
	double force = dt / (square * root(square));
	for (int i = 0; i < 3; i++) {
		a->speed[i] -= away[i] * b->mass * force;
		b->speed[i] += away[i] * a->mass * force;
	}
}

uint64_t row_nbody(uint64_t count)
{
	struct body bodies[BODIES];
	const double dt = 0.001;
	for (int i = 0; i < BODIES; i++)
		bodies[i] = (struct body){ { i, 0.5 * i * i, 3.0 - i }, { 0.1 * i, 0.2, -0.1 * i },
			1.0 / (i + 1) };
	while (count-- > 0) {
		for (int i = 0; i < BODIES; i++)
			for (int j = i + 1; j < BODIES; j++)
				pull(&bodies[i], &bodies[j], dt);
		for (int i = 0; i < BODIES; i++)
			for (int k = 0; k < 3; k++)
				bodies[i].at[k] += dt * bodies[i].speed[k];
	}
	uint64_t bits;
	memcpy(&bits, &bodies[0].at[0], sizeof(bits));
	return bits;
}

static uint64_t escape(double cx, double cy)
{
	double x = 0, y = 0;
	uint64_t steps = 0;
	while (steps < 200 && x * x + y * y < 4) {
		double next = x * x - y * y + cx;
		y = 2 * x * y + cy;
		x = next;
		steps++;
	}
	return steps;
}

uint64_t row_mandelbrot(uint64_t count)
{
	uint64_t sum = 0;
	for (uint64_t round = 0; round < count; round++)
		for (int i = 0; i < PIXELS; i++)
			sum += escape(
				-2.0 + 3.0 * i / PIXELS, -1.0 + 2.0 * (double)(round % 97) / 97);
	return sum;
}

static void multiply(const float *a, const float *b, float *c)
{
	for (int i = 0; i < SIDE; i++)
		for (int j = 0; j < SIDE; j += 8) {
			__m128 low = _mm_setzero_ps(), high = _mm_setzero_ps();
			for (int k = 0; k < SIDE; k++) {
				__m128 x = _mm_set1_ps(a[i * SIDE + k]);
				const float *line = b + (size_t)k * SIDE + j;
				low = _mm_add_ps(low, _mm_mul_ps(x, _mm_load_ps(line)));
				high = _mm_add_ps(high, _mm_mul_ps(x, _mm_load_ps(line + 4)));
			}
			_mm_store_ps(c + (size_t)i * SIDE + j, low);
			_mm_store_ps(c + (size_t)i * SIDE + j + 4, high);
		}
}

uint64_t row_sgemm(uint64_t count)
{
	static float matrices[3][SIDE * SIDE] __attribute__((aligned(64)));
	uint64_t state = 3, sum = 0;
	for (int i = 0; i < SIDE * SIDE; i++) {
		matrices[0][i] = (float)(random_next(&state) % 16) / 16;
		matrices[1][i] = (float)(random_next(&state) % 16) / 16;
	}
	while (count-- > 0) {
		uint32_t bits;
		multiply(matrices[0], matrices[1], matrices[2]);
		memcpy(&bits, &matrices[2][SIDE * SIDE / 2], sizeof(bits));
		sum = sum * 31 + bits;
		matrices[0][count % (SIDE * SIDE)] += 0.25F;
	}
	return sum;
}
