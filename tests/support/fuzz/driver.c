/* A small coverage-guided fuzzer for GCC, which has no libFuzzer: it mutates inputs, keeps those that reach
 * code no other did, and saves the input that broke.  libFuzzer's entry point, so targets serve both.
 *
 *     driver [--seconds S] [--seed N] [--keep FOLDER] [--save FILE] [INPUT ...]
 *
 * It runs the inputs, then mutates for S seconds (0), keeps in FOLDER what reached new code, and saves in FILE
 * ("crash") what broke.
 *
 * What is to be explored is compiled with -fsanitize-coverage=trace-pc, this file is not.
 */
#define _DEFAULT_SOURCE
#include "fuzz.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST = 1024, MOST_KEPT = 4096, MAP = 1 << 16, HANG_S = 20 };

typedef struct { uint32_t size; uint8_t data[LONGEST]; } Input;

/* What the parent sees of the child that runs the target. */
typedef struct { volatile uint64_t runs; volatile uint32_t kept; Input input; } Shared;

static Shared *shared;
static Input *kept[MOST_KEPT];
static uint8_t seen[MAP], hit[MAP];
static uint32_t touched[MAP], n_touched;
static uintptr_t before;
static uint64_t dice = 1;
static const char *keep_in;

void __sanitizer_cov_trace_pc(void)
{
    const uintptr_t pc = (uintptr_t)__builtin_return_address(0);
    const uint32_t edge = (uint32_t)((pc ^ before >> 1) * 0x9e3779b1u >> 8) % MAP;
    before = pc;
    if (!hit[edge]) {
        hit[edge] = 1;
        touched[n_touched++] = edge;
    }
}

static uint32_t roll(uint32_t n)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(dice >> 33) % n;
}

/* Whether the last run went where none went before. */
static int coverage_grew(void)
{
    int grew = 0;
    for (uint32_t i = 0; i < n_touched; i++) {
        grew |= !seen[touched[i]];
        seen[touched[i]] = 1;
        hit[touched[i]] = 0;
    }
    n_touched = 0;
    before = 0;
    return grew;
}

static void keep(const Input *input)
{
    const uint32_t at = shared->kept < MOST_KEPT ? shared->kept++ : roll(MOST_KEPT);
    if (!kept[at]) kept[at] = exactly(sizeof(Input));
    *kept[at] = *input;
}

static void save(const Input *input, const char *path)
{
    FILE *file = fopen(path, "wb");
    CHECK(file, "%s cannot be written", path);
    fwrite(input->data, 1, input->size, file);
    fclose(file);
}

static void keep_file(const Input *input)
{
    char path[4096];
    if (!keep_in) return;
    snprintf(path, sizeof path, "%s/%08x-%u", keep_in, (unsigned)dice, shared->kept);
    save(input, path);
}

static void run(void)
{
    Input *input = &shared->input;
    uint8_t *copy = exactly(input->size);
    memcpy(copy, input->data, input->size);
    LLVMFuzzerTestOneInput(copy, input->size);
    free(copy);
    shared->runs++;
    if (!coverage_grew()) return;
    keep(input);
    keep_file(input);
}

/* --- mutations -------------------------------------------------------------------------------- */

static void put_byte(Input *input) { input->data[roll(input->size)] = (uint8_t)roll(256); }
static void flip_bit(Input *input) { input->data[roll(input->size)] ^= (uint8_t)(1u << roll(8)); }
static void nudge(Input *input) { input->data[roll(input->size)] += (uint8_t)(roll(17) - 8); }

static void put_limit(Input *input)
{
    static const uint8_t limits[] = {0, 1, 7, 8, 9, 63, 64, 65, 127, 128, 254, 255};
    input->data[roll(input->size)] = limits[roll(sizeof limits)];
}

static void cut_out(Input *input)
{
    const uint32_t at = roll(input->size), length = 1 + roll(input->size - at);
    if (length == input->size) return;
    memmove(input->data + at, input->data + at + length, input->size - at - length);
    input->size -= length;
}

static void push_in(Input *input, const uint8_t *from, uint32_t length)
{
    const uint32_t at = roll(input->size + 1);
    if (length > LONGEST - input->size) length = LONGEST - input->size;
    memmove(input->data + at + length, input->data + at, input->size - at);
    memcpy(input->data + at, from, length);
    input->size += length;
}

static void push_random(Input *input)
{
    uint8_t fresh[32];
    for (size_t i = 0; i < sizeof fresh; i++) fresh[i] = (uint8_t)roll(256);
    push_in(input, fresh, 1 + roll(sizeof fresh));
}

static void push_kept(Input *input)
{
    const Input *other = kept[roll(shared->kept)];
    const uint32_t at = roll(other->size);
    push_in(input, other->data + at, 1 + roll(other->size - at));
}

static void repeat(Input *input)
{
    static uint8_t piece[64];
    const uint32_t at = roll(input->size), most = input->size - at < sizeof piece ? input->size - at : sizeof piece;
    const uint32_t length = 1 + roll(most);
    memcpy(piece, input->data + at, length);
    push_in(input, piece, length);
}

static void mutate(Input *input)
{
    static void (*const ways[])(Input *) = {put_byte, flip_bit, nudge, put_limit, cut_out, push_random, push_kept, repeat};
    for (uint32_t n = 1 + roll(6); n; n--) ways[roll(sizeof ways / sizeof *ways)](input);
}

/* --- the two processes ------------------------------------------------------------------------ */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void input_load(Input *input, const char *path)
{
    FILE *file = fopen(path, "rb");
    CHECK(file, "%s does not open", path);
    input->data[0] = 0;
    input->size = (uint32_t)fread(input->data, 1, LONGEST, file);
    input->size += !input->size;
    fclose(file);
}

static void child(double seconds, int inputs, char **paths)
{
    const double end = now() + seconds;
    for (int i = 0; i < inputs; i++) {
        input_load(&shared->input, paths[i]);
        run();
    }
    shared->input = (Input){.size = 1};
    keep(&shared->input);
    while (now() < end) {
        shared->input = *kept[roll(shared->kept)];
        mutate(&shared->input);
        run();
    }
    exit(0);
}

/* Its exit status; a child that stands still is killed. */
static int watch(pid_t pid)
{
    uint64_t runs = 0;
    int status;
    for (double moved = now(); waitpid(pid, &status, WNOHANG) == 0; usleep(20000)) {
        if (shared->runs != runs) moved = now();
        runs = shared->runs;
        if (now() - moved > HANG_S) {
            fprintf(stderr, "one input ran for more than %d s\n", HANG_S);
            kill(pid, SIGKILL);
            moved = now();
        }
    }
    return status;
}

int main(int count, char **words)
{
    double seconds = 0;
    const char *path = "crash";
    int i = 1;
    for (; i + 1 < count && words[i][0] == '-'; i += 2) {
        if (!strcmp(words[i], "--seconds")) seconds = atof(words[i + 1]);
        if (!strcmp(words[i], "--seed")) dice = strtoull(words[i + 1], NULL, 10) * 2 + 1;
        if (!strcmp(words[i], "--keep")) keep_in = words[i + 1];
        if (!strcmp(words[i], "--save")) path = words[i + 1];
    }
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED, "no shared memory");
    const pid_t pid = fork();
    if (pid == 0) child(seconds, count - i, words + i);
    const int broken = watch(pid);
    if (broken) {
        save(&shared->input, path);
        fprintf(stderr, "the input, %u bytes, is in %s\n", shared->input.size, path);
    }
    printf("%llu inputs, %u kept\n", (unsigned long long)shared->runs, shared->kept);
    return broken != 0;
}
