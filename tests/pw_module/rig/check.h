/*
 * The smallest test harness: CHECK counts, prints what failed and goes on; check_close prints the
 * closing line and gives main's return value. One program is one group of tests. With CHECK_ONCE in
 * the environment the first failure ends it: who wants to see it fail at all need not wait longer.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

static int check_passed, check_failed;

/* The message is a printf format with its values: what was seen. */
#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (condition) {                                                                           \
            check_passed++;                                                                        \
        } else if (++check_failed <= 50) { /* a broken loop must not flood the log */              \
            printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);                                 \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
            if (getenv("CHECK_ONCE")) {                                                            \
                fflush(stdout);                                                                    \
                _Exit(1);                                                                          \
            }                                                                                      \
        }                                                                                          \
    } while (0)

#define CHECK_EQ(seen, wanted)                                                                     \
    do {                                                                                           \
        long long check_seen = (long long)(seen), check_wanted = (long long)(wanted);              \
        CHECK(check_seen == check_wanted, "%s is %lld, not %lld", #seen, check_seen,               \
              check_wanted);                                                                       \
    } while (0)

static inline int check_close(void) {
    printf("%d passed, %d failed\n", check_passed, check_failed);
    return check_failed == 0 ? 0 : 1;
}

#endif
