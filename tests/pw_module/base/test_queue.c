/* The queue: order, fullness, wrap of the indices, and two threads at once (TSan watches). */
#include <pthread.h>
#include <sched.h>

#include "check.h"
#include "base/queue.h"

struct message {
    uint64_t number, inverse, words[5];
};

static unsigned char memory[64 * sizeof(struct message)];

static struct message message(uint64_t number) {
    struct message m = {.number = number, .inverse = ~number};

    for (int i = 0; i < 5; i++)
        m.words[i] = number * 3 + (uint64_t)i;
    return m;
}

static bool intact(const struct message *m) {
    for (int i = 0; i < 5; i++)
        if (m->words[i] != m->number * 3 + (uint64_t)i)
            return false;
    return m->inverse == ~m->number;
}

static void init_rejects_odd_capacities(void) {
    struct xpa_queue q;

    CHECK_EQ(xpa_queue_init(&q, memory, 0, 8), -EINVAL);
    CHECK_EQ(xpa_queue_init(&q, memory, 3, 8), -EINVAL);
    CHECK_EQ(xpa_queue_init(&q, memory, 48, 8), -EINVAL);
    CHECK_EQ(xpa_queue_init(&q, memory, 8, 0), -EINVAL);
    CHECK_EQ(xpa_queue_init(&q, memory, 1, 1), 0);
    CHECK_EQ(xpa_queue_init(&q, memory, 64, sizeof(struct message)), 0);
}

static void full_refuses_and_empty_yields_nothing(uint32_t capacity, uint32_t index) {
    struct xpa_queue q;
    struct message m;
    uint64_t pushed = 0, popped = 0;

    CHECK_EQ(xpa_queue_init(&q, memory, capacity, sizeof m), 0);
    atomic_store(&q.tail, index); /* the indices wrap in a long run */
    atomic_store(&q.head, index);
    for (int round = 0; round < 20; round++) {
        CHECK(!xpa_queue_pop(&q, &m), "an empty queue gave a message");
        for (uint32_t i = 0; i < capacity; i++) {
            m = message(pushed++);
            CHECK_EQ(xpa_queue_fill(&q), i);
            CHECK(xpa_queue_push(&q, &m), "refused at %u of %u", i, capacity);
        }
        m = message(999999);
        CHECK(!xpa_queue_push(&q, &m), "took more than its capacity");
        for (uint32_t i = 0; i < capacity; i++) {
            CHECK(xpa_queue_pop(&q, &m), "empty at %u of %u", i, capacity);
            CHECK(intact(&m) && m.number == popped, "message %llu reads as %llu",
                  (unsigned long long)popped, (unsigned long long)m.number);
            popped++;
        }
    }
}

static void odd_message_sizes_stay_apart(void) {
    struct xpa_queue q;
    char out[7];

    CHECK_EQ(xpa_queue_init(&q, memory, 4, 7), 0);
    memory[4 * 7] = 0x5a;
    CHECK(xpa_queue_push(&q, "abcdefg") && xpa_queue_push(&q, "hijklmn") &&
              xpa_queue_push(&q, "opqrstu") && xpa_queue_push(&q, "vwxyz01"),
          "refused");
    CHECK_EQ(memory[4 * 7], 0x5a);
    CHECK(xpa_queue_pop(&q, out) && memcmp(out, "abcdefg", 7) == 0, "%.7s", out);
    CHECK(xpa_queue_pop(&q, out) && memcmp(out, "hijklmn", 7) == 0, "%.7s", out);
}

#define THREADED_MESSAGES 200000ull

static void *produce(void *arg) {
    struct xpa_queue *q = arg;

    for (uint64_t n = 0; n < THREADED_MESSAGES; n++) {
        struct message m = message(n);

        while (!xpa_queue_push(q, &m))
            sched_yield();
    }
    return NULL;
}

static void two_threads_lose_and_tear_nothing(uint32_t capacity) {
    struct xpa_queue q;
    pthread_t producer;
    uint64_t wrong = 0;

    CHECK_EQ(xpa_queue_init(&q, memory, capacity, sizeof(struct message)), 0);
    atomic_store(&q.tail, 0u - 1000);
    atomic_store(&q.head, 0u - 1000);
    CHECK_EQ(pthread_create(&producer, NULL, produce, &q), 0);
    for (uint64_t n = 0; n < THREADED_MESSAGES; n++) {
        struct message m;

        while (!xpa_queue_pop(&q, &m))
            sched_yield();
        wrong += m.number != n || !intact(&m);
    }
    pthread_join(producer, NULL);
    CHECK_EQ(wrong, 0);
    CHECK_EQ(xpa_queue_fill(&q), 0);
}

int main(void) {
    init_rejects_odd_capacities();
    for (uint32_t capacity = 1; capacity <= 64; capacity *= 2) {
        full_refuses_and_empty_yields_nothing(capacity, 0);
        full_refuses_and_empty_yields_nothing(capacity, 0u - 5);
    }
    odd_message_sizes_stay_apart();
    two_threads_lose_and_tear_nothing(1);
    two_threads_lose_and_tear_nothing(8);
    two_threads_lose_and_tear_nothing(64);
    return check_close();
}
