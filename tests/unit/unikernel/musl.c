/* SPDX-License-Identifier: Apache-2.0 */
/*
 * musl.c - a static program of musl: its clone() does not show the call's number before the call.
 *
 * usage: musl [WORD]
 */
#include <pthread.h>
#include <semaphore.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 8
#define ROUNDS  1000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sem_t turns[THREADS];
static long sum;

/* Each waits for the one before, so that all are there at once. */
static void *count(void *data)
{
	long number = (long)data;
	double fraction = 0;
	sem_wait(&turns[number]);
	if (number + 1 < THREADS)
		sem_post(&turns[number + 1]);
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&lock);
		sum += number;
		pthread_mutex_unlock(&lock);
		fraction += 0.5;
	}
	return (void *)(number + (long)fraction);
}

int main(int words, char **word)
{
	pthread_t threads[THREADS];
	long results = 0;
	if (words > 1)
		return printf("spawned %s\n", word[1]) < 0;
	for (long i = 0; i < THREADS; i++) {
		sem_init(&turns[i], 0, 0);
		if (pthread_create(&threads[i], NULL, count, (void *)i) != 0)
			return 1;
	}
	sem_post(&turns[0]);
	for (int i = 0; i < THREADS; i++) {
		void *result;
		pthread_join(threads[i], &result);
		results += (long)result;
	}
	printf("sum %ld results %ld\n", sum, results);
	fflush(stdout);
	pid_t child;
	int status = -1;
	char *again[] = { word[0], (char[]){ "once" }, NULL };
	if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, again, environ) == 0)
		waitpid(child, &status, 0);
	printf("status %d\n", status);
	return 0;
}
