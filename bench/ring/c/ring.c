// What the machine itself can do between two cores: the floors of the ring's figures.
//
//   ring SCENARIO MILLISECONDS      prints one line of JSON
//
// The hop is a ping-pong over two cache lines. The others are a ring with one producer and one consumer,
// each of which keeps a copy of the other's index and publishes its own with a release store.

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
static void relax(void) { _mm_pause(); }
static uint64_t ticks(void) { return __rdtsc(); }
#else
static uint64_t nanos(void);
static void relax(void) {}
static uint64_t ticks(void) { return nanos(); }
#endif

enum { LINE = 128, SLOTS = 1 << 16, BATCH = 16, WORDS = 8 };

typedef struct { uint64_t word[WORDS]; } event;

static struct {
	_Alignas(LINE) _Atomic uint64_t there; // the hop's two lines; the ring's published and released
	_Alignas(LINE) _Atomic uint64_t back;
	_Alignas(LINE) uint64_t n;
	uint64_t batch;
	int words; // of a message
	void *slots;
} shared;

static uint64_t nanos(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// pin is a wish: with one core both threads stay where they are.
static void pin(int core) {
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(core, &set);
	pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

static void fail(const char *what) {
	fprintf(stderr, "ring: %s\n", what);
	exit(1);
}

static pthread_t start(void *(*side)(void *)) {
	pthread_t thread;
	if (pthread_create(&thread, NULL, side, NULL) != 0) fail("no thread");
	return thread;
}

// ---- one hop

static void *pong(void *unused) {
	pin(1);
	for (uint64_t i = 1; i <= shared.n; i++) {
		while (atomic_load_explicit(&shared.there, memory_order_acquire) != i) {}
		atomic_store_explicit(&shared.back, i, memory_order_release);
	}
	return unused;
}

static int ascending(const void *a, const void *b) {
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static uint64_t hop(uint64_t n, int report) {
	uint64_t *trips = malloc(n * sizeof *trips);
	if (trips == NULL) fail("no memory");
	memset(trips, 0, n * sizeof *trips);
	shared.n = n;
	atomic_store(&shared.there, 0);
	atomic_store(&shared.back, 0);
	pthread_t thread = start(pong);
	uint64_t began = nanos(), first = ticks();
	for (uint64_t i = 1; i <= n; i++) {
		uint64_t at = ticks();
		atomic_store_explicit(&shared.there, i, memory_order_release);
		while (atomic_load_explicit(&shared.back, memory_order_acquire) != i) {}
		trips[i - 1] = ticks() - at;
	}
	uint64_t last = ticks(), took = nanos() - began;
	pthread_join(thread, NULL);
	if (report) {
		double half = (double)took / (double)(last - first) / 2;
		qsort(trips, n, sizeof *trips, ascending);
		half /= 1e3; // to microseconds
		printf("{\"ops\":%lu,\"rate\":%.0f,\"latency_us\":"
			"{\"count\":%lu,\"p50\":%.5f,\"p99\":%.5f,\"p999\":%.5f,\"max\":%.5f}}\n",
			n, (double)n * 1e9 / (double)took, n,
			(double)trips[(n - 1) / 2] * half, (double)trips[(n - 1) * 99 / 100] * half,
			(double)trips[(n - 1) * 999 / 1000] * half, (double)trips[n - 1] * half);
	}
	free(trips);
	return took;
}

// ---- the ring

static void *produce(void *unused) {
	pin(1);
	const uint64_t n = shared.n, batch = shared.batch;
	uint64_t released = 0;
	for (uint64_t i = 0; i < n;) {
		while (i + batch - released > SLOTS) {
			released = atomic_load_explicit(&shared.back, memory_order_acquire);
			if (i + batch - released > SLOTS) relax();
		}
		if (shared.words == 1) {
			uint64_t *slots = shared.slots;
			for (uint64_t k = 0; k < batch; k++, i++) slots[i & (SLOTS - 1)] = i;
		} else {
			event *slots = shared.slots;
			for (uint64_t k = 0; k < batch; k++, i++)
				for (int w = 0; w < WORDS; w++) slots[i & (SLOTS - 1)].word[w] = i;
		}
		atomic_store_explicit(&shared.there, i, memory_order_release);
	}
	return unused;
}

// consume releases after each run in batches, and after each message without: it is the better of the
// two for each.
static void consume(void) {
	const uint64_t n = shared.n, batch = shared.batch;
	uint64_t published = 0, sum = 0, wrong = 0, next = 0;
	while (next < n) {
		while (next == published) {
			published = atomic_load_explicit(&shared.there, memory_order_acquire);
			if (next == published) relax();
		}
		uint64_t end = batch > 1 ? published : next + 1;
		if (shared.words == 1) {
			const uint64_t *slots = shared.slots;
			for (; next < end; next++) {
				uint64_t v = slots[next & (SLOTS - 1)];
				wrong |= v ^ next;
				sum += v;
			}
		} else {
			const event *slots = shared.slots;
			for (; next < end; next++) {
				const event *e = &slots[next & (SLOTS - 1)];
				wrong |= e->word[0] ^ next;
				for (int w = 0; w < WORDS; w++) sum += e->word[w];
			}
		}
		atomic_store_explicit(&shared.back, next, memory_order_release);
	}
	if (wrong != 0) fail("messages out of order");
	if (sum != (uint64_t)shared.words * (n * (n - 1) / 2)) fail("wrong sum");
}

static uint64_t one_to_one(uint64_t n, int report) {
	n = n / BATCH * BATCH;
	shared.n = n;
	atomic_store(&shared.there, 0);
	atomic_store(&shared.back, 0);
	uint64_t began = nanos();
	pthread_t thread = start(produce);
	consume();
	uint64_t took = nanos() - began;
	pthread_join(thread, NULL);
	if (report) printf("{\"ops\":%lu,\"rate\":%.0f}\n", n, (double)n * 1e9 / (double)took);
	return took;
}

static void make_slots(void) {
	size_t bytes = SLOTS * sizeof(event);
	shared.slots = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (shared.slots == MAP_FAILED) fail("no memory");
	madvise(shared.slots, bytes, MADV_HUGEPAGE);
	memset(shared.slots, 0, bytes);
}

int main(int argc, char **argv) {
	if (argc != 3) fail("want SCENARIO MILLISECONDS");
	const char *scenario = argv[1];
	double target = strtod(argv[2], NULL) * 1e6;
	uint64_t (*run)(uint64_t, int) = one_to_one;
	shared.words = strstr(scenario, "-64") != NULL ? WORDS : 1;
	shared.batch = strstr(scenario, "-b16") != NULL ? BATCH : 1;
	if (strcmp(scenario, "hop-8") == 0) {
		run = hop;
	} else if (strncmp(scenario, "1p1c-", 5) != 0) {
		fail("no such floor");
	}
	make_slots();
	pin(0);
	uint64_t n = 1 << 16;
	uint64_t took = run(n, 0);
	while ((double)took < target / 8) {
		n *= 4;
		took = run(n, 0);
	}
	run((uint64_t)((double)n * target / (double)took) + BATCH, 1);
	return 0;
}
