// Two threads hand a number back and forth over two cache lines, each on a processor of its own. It prints
// one JSON line: the median and p99 of one hop in nanoseconds, over batches of round trips.
// usage: pingpong milliseconds
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BATCH = 64, BATCHES_MIN = 16, BATCHES_MAX = 1 << 20 };

static struct {
	_Alignas(128) _Atomic uint64_t ping;
	_Alignas(128) _Atomic uint64_t pong;
	_Alignas(128) _Atomic int stop;
} line;

static int processors[2];

static uint64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void pin(int processor) {
#ifdef __linux__
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	pthread_setaffinity_np(pthread_self(), sizeof set, &set);
#else
	(void)processor;
#endif
}

// The first two processors this process may use; the same one twice where there is only one.
static int choose(void) {
#ifdef __linux__
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
	int found = 0;
	for (int i = 0; i < CPU_SETSIZE && found < 2; i++)
		if (CPU_ISSET(i, &set)) processors[found++] = i;
	return found;
#else
	return 2;
#endif
}

static void *answer(void *unused) {
	(void)unused;
	pin(processors[1]);
	for (uint64_t next = 1;; next++) {
		while (atomic_load_explicit(&line.ping, memory_order_acquire) != next)
			if (atomic_load_explicit(&line.stop, memory_order_relaxed)) return 0;
		atomic_store_explicit(&line.pong, next, memory_order_release);
	}
}

static int compare(const void *a, const void *b) {
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

int main(int count, char **arguments) {
	uint64_t length = (count > 1 ? strtoull(arguments[1], 0, 10) : 100) * 1000000u;
	if (choose() < 2) {
		fprintf(stderr, "fewer than two processors\n");
		return 2;
	}
	float *hops = malloc(BATCHES_MAX * sizeof *hops);
	if (!hops) return 1;
	pthread_t thread;
	if (pthread_create(&thread, 0, answer, 0) != 0) return 1;
	pin(processors[0]);
	uint64_t next = 1, batches = 0;
	// The first tenth warms up.
	uint64_t start = now(), begin = start + length / 10;
	for (uint64_t before = start; (before - start < length || batches < BATCHES_MIN) && batches < BATCHES_MAX;) {
		for (int i = 0; i < BATCH; i++, next++) {
			atomic_store_explicit(&line.ping, next, memory_order_release);
			while (atomic_load_explicit(&line.pong, memory_order_acquire) != next) {
			}
		}
		uint64_t after = now();
		if (before >= begin) hops[batches++] = (float)(after - before) / (2 * BATCH);
		before = after;
	}
	atomic_store(&line.stop, 1);
	pthread_join(thread, 0);
	qsort(hops, batches, sizeof *hops, compare);
	printf("{\"p50_ns\":%.1f,\"p99_ns\":%.1f}\n", hops[batches / 2], hops[batches * 99 / 100]);
	return 0;
}
