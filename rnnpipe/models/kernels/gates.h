/* What a step does neuron by neuron, H of them, for one row: gates from sums and back. Equations as in torch's docs. */

/* Arrays are apart or the very same, so that neurons can be taken in any order, many at a time. */
#define NEURONS _Pragma("GCC ivdep") for (long j = 0; j < H; j++)

/* tanh by the quotient of two polynomials that Eigen uses (error below 3e-7); not a number stays none. */
INLINE float tanh_of(float x) {
    x = x > 7.90531110763549805f ? 7.90531110763549805f : x;
    x = x < -7.90531110763549805f ? -7.90531110763549805f : x;
    const float s = x * x;
    float p = -2.76076847742355e-16f;
    p = p * s + 2.00018790482477e-13f;
    p = p * s - 8.60467152213735e-11f;
    p = p * s + 5.12229709037114e-08f;
    p = p * s + 1.48572235717979e-05f;
    p = p * s + 6.37261928875436e-04f;
    p = p * s + 4.89352455891786e-03f;
    float q = 1.19825839466702e-06f;
    q = q * s + 1.18534705686654e-04f;
    q = q * s + 2.26843463243900e-03f;
    q = q * s + 4.89352518554385e-03f;
    return x * p / q;
}

INLINE float sigmoid(float x) { return 0.5f + 0.5f * tanh_of(0.5f * x); }

/* h' = tanh(sums + b), or relu; backward the sums' gradients replace the sums. */
static void plain_forward(long H, int relu, const float *bias, const float *sums, float *restrict next) {
    if (relu)
        NEURONS next[j] = sums[j] + bias[j] < 0 ? 0 : sums[j] + bias[j];
    else
        NEURONS next[j] = tanh_of(sums[j] + bias[j]);
}

static void plain_backward(long H, int relu, const float *next, const float *d_state, float *restrict sums) {
    if (relu)
        NEURONS sums[j] = next[j] > 0 ? d_state[j] : 0;
    else
        NEURONS sums[j] = d_state[j] * (1 - next[j] * next[j]);
}

/* r, z = sigmoid, n = tanh(n_x + r n_h), h' = (1 - z) n + z h; [n_x, r, z, n_h] becomes [n, r, z, n_h]. */
static void gru_forward(long H, const float *bias, float *gates, const float *state, float *restrict next) {
    float *restrict n = gates, *restrict r = gates + H, *restrict z = gates + 2 * H, *restrict q = gates + 3 * H;
    NEURONS {
        r[j] = sigmoid(r[j] + bias[H + j]);
        z[j] = sigmoid(z[j] + bias[2 * H + j]);
        q[j] += bias[3 * H + j];
        n[j] = tanh_of(n[j] + bias[j] + r[j] * q[j]);
        next[j] = (1 - z[j]) * n[j] + z[j] * state[j];
    }
}

/* Leaves in d_state what reaches the state before by z alone. */
static void gru_backward(long H, float *gates, const float *state, float *restrict d_state) {
    float *restrict n = gates, *restrict r = gates + H, *restrict z = gates + 2 * H, *restrict q = gates + 3 * H;
    NEURONS {
        const float d = d_state[j], d_n = d * (1 - z[j]) * (1 - n[j] * n[j]), reset = r[j], update = z[j];
        z[j] = d * (state[j] - n[j]) * update * (1 - update);
        r[j] = d_n * q[j] * reset * (1 - reset);
        q[j] = d_n * reset;
        n[j] = d_n;
        d_state[j] = d * update;
    }
}

/* i, f, o = sigmoid, g = tanh, c' = f c + i g, h' = o tanh(c'). */
static void lstm_forward(long H, const float *bias, float *gates, const float *cell, float *next_cell,
                         float *restrict next) {
    float *restrict i = gates, *restrict f = gates + H, *restrict g = gates + 2 * H, *restrict o = gates + 3 * H;
    NEURONS {
        i[j] = sigmoid(i[j] + bias[j]);
        f[j] = sigmoid(f[j] + bias[H + j]);
        g[j] = tanh_of(g[j] + bias[2 * H + j]);
        o[j] = sigmoid(o[j] + bias[3 * H + j]);
        next_cell[j] = f[j] * cell[j] + i[j] * g[j];
        next[j] = o[j] * tanh_of(next_cell[j]);
    }
}

static void lstm_backward(long H, float *gates, const float *cell, const float *next_cell, const float *d_state,
                          float *restrict d_cell) {
    float *restrict i = gates, *restrict f = gates + H, *restrict g = gates + 2 * H, *restrict o = gates + 3 * H;
    NEURONS {
        const float in = i[j], forget = f[j], new = g[j], out = o[j], t = tanh_of(next_cell[j]);
        const float d_next = d_cell[j] + d_state[j] * out * (1 - t * t);
        i[j] = d_next * new * in * (1 - in);
        f[j] = d_next * cell[j] * forget * (1 - forget);
        g[j] = d_next * in * (1 - new * new);
        o[j] = d_state[j] * t * out * (1 - out);
        d_cell[j] = d_next * forget;
    }
}
