/*
 * A fuzzer's main() for a count: so many operations, as fast as they go. There is no coverage here,
 * so nothing new is kept; the inputs are those of a corpus that libFuzzer has found, changed by the
 * same mutator, from a seed.
 *
 *     count_NAME SEED OPERATIONS CRASH CORPUS...
 *
 * What breaks is left in the file CRASH, which the fuzzer of that name repeats.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sanitizer/common_interface_defs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "random.h"

enum { MOST_INPUTS = 1 << 16, MOST_BYTES = 2048 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
extern uint64_t fuzz_operations;

static struct input {
    size_t size;
    uint8_t *data;
} inputs[MOST_INPUTS];
static size_t input_count;

static uint64_t number;
static uint8_t now[MOST_BYTES];
static size_t now_bytes;
static const char *crash;

static void write_crash(void) {
    int fd = open(crash, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd >= 0 && write(fd, now, now_bytes) == (ssize_t)now_bytes)
        fprintf(stderr, "crash: %s\n", crash);
}

/* What libFuzzer does with bytes that it knows nothing about. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size) {
    if (size < max_size)
        data[size++] = (uint8_t)random_u64(&number);
    data[random_below(&number, (uint32_t)size)] = (uint8_t)random_u64(&number);
    return size;
}

static void read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || input_count == MOST_INPUTS)
        exit(2);
    struct input *in = &inputs[input_count++];
    in->data = malloc(MOST_BYTES);
    in->size = fread(in->data, 1, MOST_BYTES, file);
    fclose(file);
}

static void read_folder(const char *folder) {
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort); /* in the same order each time */
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            read_file(path);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

/* One of the corpus, or the end of it another's, changed a little or much. */
static void make_input(void) {
    now_bytes = 0;
    for (uint32_t parts = 1 + random_below(&number, 4); parts > 0 && input_count > 0; parts--) {
        const struct input *in = &inputs[random_below(&number, (uint32_t)input_count)];
        size_t from = now_bytes ? random_below(&number, (uint32_t)(in->size / 8) + 1) * 8 : 0;
        size_t bytes = in->size - from;
        if (bytes > MOST_BYTES - now_bytes)
            bytes = MOST_BYTES - now_bytes;
        memcpy(now + now_bytes, in->data + from, bytes);
        now_bytes += bytes & ~(size_t)7;
    }
    for (uint32_t times = 1u << random_below(&number, 5); times > 0; times--)
        now_bytes =
            LLVMFuzzerCustomMutator(now, now_bytes, MOST_BYTES, (unsigned int)random_u64(&number));
}

int main(int argc, char **argv) {
    if (argc < 5)
        return 2;
    number = strtoull(argv[1], NULL, 10);
    uint64_t operations = strtoull(argv[2], NULL, 10), executions = 0;
    crash = argv[3];
    for (int i = 4; i < argc; i++)
        read_folder(argv[i]);
    LLVMFuzzerInitialize(&argc, &argv);
    __sanitizer_set_death_callback(write_crash);
    for (; fuzz_operations < operations; executions++) {
        make_input();
        LLVMFuzzerTestOneInput(now, now_bytes);
    }
    fprintf(stderr, "stat::number_of_executed_units: %" PRIu64 "\n", executions);
    for (size_t i = 0; i < input_count; i++)
        free(inputs[i].data);
    return 0;
}
