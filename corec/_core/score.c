/* The anomaly score of a block, from the rows of its closed windows, and which scores raise an alert; docs/model.md gives each formula.
 *
 * IEEE doubles in the order written here, no fused multiply-add, no libm but the square root: the same bits on every machine.
 */
#include "core.h"
#include <math.h>

enum {
    WARM = 50,                  /* windows of a block before its features are judged */
    SETTLE = 64,                /* windows before the level is learned, and values in the level before it judges */
    LEAST_WINDOWS = 100,        /* windows of a block before an alert */
    PAUSE = 60,                 /* windows without a further alert after one */
    STRETCH = 16                /* windows; the peak leaves out the newest stretch and the one before it */
};
#define MOST_Z        1000.0    /* what the readings of one window add to the score at most, */
#define MOST_FEATURE  10.0      /* and what its features do */
#define FEATURE_STEP  2e-5      /* least step of the mean and variance of a feature, */
#define LEVEL_STEP    1e-4      /* and of the level */
#define QUICK         (1.0 / 4) /* steps of the two fast means */
#define SLOW          (1.0 / 64)
#define LEAST_SPREAD  0.2       /* added to the deviation of the level */
#define TOPS_BY       1.25      /* an alert exceeds the decaying peak this many times */
#define LN2           0.6931471805599453
#define SQRT2         1.4142135623730951

static inline double lesser(double a, double b) { return a < b ? a : b; }
static inline double greater(double a, double b) { return a > b ? a : b; }

/* The logarithm of a finite x >= 1, within 4e-15: x = m * 2**e with m about 1, and 2 artanh((m - 1) / (m + 1)) as a series. */
static double logarithm(double x)
{
    uint64_t bits;
    double m;
    memcpy(&bits, &x, 8);
    int e = (int)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
    memcpy(&m, &bits, 8);
    if (m > SQRT2) {
        m *= 0.5;
        e++;
    }
    const double s = (m - 1.0) / (m + 1.0), q = s * s;
    double series = 1.0 / 17;
    for (int k = 15; k > 0; k -= 2) series = 1.0 / k + q * series;
    return e * LN2 + 2.0 * s * series;
}

/* Step of a mean that had n values before. */
static double falling_step(double n, double least)
{
    const double nth = 1.0 / (n + 1.0);
    return greater(n > 256.0 ? nth * sqrt(256.0 / n) : nth, least);
}

/* Move a mean and variance towards x; what is further off than 3 deviations counts as that where it is guarded. */
static void learn(double *mean, double *var, double x, double step, int guarded)
{
    const double d = x - *mean, most = 3.0 * sqrt(*var), e = guarded ? lesser(greater(d, -most), most) : d;
    *mean += step * e;
    *var = (1.0 - step) * (*var + step * e * e);
}

/* The largest |z| of a feature of the window; its references learn of the window. */
static double judge_features(BlockScore *s, const Row *row)
{
    static const double floors[CC_FEATURES] = {0.01, 0.0, 0.0, 0.01};
    const double readings = greater((double)row->count + row->errors, 1.0), step = falling_step((double)s->windows, FEATURE_STEP);
    const double x[CC_FEATURES] = {row->messages / readings, row->mean, row->std, row->errors / readings};
    const int warm = s->windows >= WARM;
    double worst = 0.0;
    for (int k = 0; k < CC_FEATURES; k++) {
        if (isnan(x[k])) continue;
        const double unit = greater(sqrt(s->var[k]), floors[k]) + 1e-6 * fabs(s->mean[k]) + 1e-9;
        if (warm) worst = greater(fabs(x[k] - s->mean[k]) / unit, worst);
        learn(&s->mean[k], &s->var[k], x[k], step, warm);
    }
    return lesser(worst, MOST_FEATURE);
}

static float judge_window(BlockScore *s, const Row *row)
{
    const double x = greater(lesser(row->score, MOST_Z), judge_features(s, row));
    double score = 0.0;
    s->quick += (x - s->quick) * QUICK;
    s->slow += (x - s->slow) * SLOW;
    if (s->windows < SETTLE) return 0.0f;
    const double loudness = logarithm(1.0 + (s->quick + s->slow));
    const int settled = s->levelled >= SETTLE;
    if (settled) score = (loudness - s->level) / (sqrt(s->spread) + LEAST_SPREAD);
    learn(&s->level, &s->spread, loudness, falling_step((double)s->levelled, LEVEL_STEP), settled);
    s->levelled++;
    return (float)score;
}

/* Whether a score raises an alert, and what it had to exceed; the peak learns of it, so late that a slow rise does not top itself. */
static int judge_score(BlockScore *s, double score, double half_life, double least, double *limit)
{
    const double half = greater(lesser(half_life, 0.5 * (double)s->windows), 1.0);
    if (s->windows % STRETCH == 0) {
        s->peak = greater(s->peak, s->before);
        s->before = s->newest;
        s->newest = 0.0;
    }
    *limit = greater(TOPS_BY * s->peak, least);
    const int raised = score > *limit && s->windows >= LEAST_WINDOWS && s->windows >= s->silent_until;
    if (raised) s->silent_until = s->windows + PAUSE + 1;
    s->peak -= s->peak * (LN2 / half);
    s->newest = greater(s->newest, score);
    s->windows++;
    return raised;
}

/* Put the score into each row that does not amend another; returns how many alerts there are.  ids: of the first entity of each block.
 * stored: the rows have their scores already.  The caller gave room for an alert a row. */
size_t cc_score_rows(BlockScore *blocks, Row *rows, size_t n, const uint32_t *ids, double half_life, double least, int stored, Alert *alerts)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        Row *row = &rows[i];
        BlockScore *s = &blocks[row->block];
        double limit;
        if (isnan(row->fitness)) continue;
        if (!stored) row->score = judge_window(s, row);
        if (judge_score(s, row->score, half_life, least, &limit))
            alerts[found++] = (Alert){row->window, ids[row->block], row->block, row->canal, CC_ALERT_ANOMALY, row->score, (float)limit};
    }
    return found;
}
