/* Recurrent layers on a CPU, forward and backward through time, for some rows of a batch.
 *
 * A sequence depends on no other, so a thread takes its rows through all layers and steps: nothing is synchronised,
 * weights stay in the cache, and what a step does neuron by neuron follows its matrix product at once.
 *
 * Shapes: R rows, T steps, I inputs, H neurons, L layers.
 */
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "product.h"

#include "gates.h"
#include "layout.h"

/* Denormal numbers become zero, as in training by torch: they would cost a hundred times as long. */
static unsigned flush_denormals(void) {
#if defined(__SSE__)
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
#else
    return 0;
#endif
}

static void restore_denormals(unsigned before) {
#if defined(__SSE__)
    _mm_setcsr(before);
#endif
}

static void copy_inputs(const Shape *s, const float *x, long row_stride, long step_stride, float *inputs) {
    const long row = padded(s->inputs);
    for (long t = 0; t < s->steps; t++)
        for (long r = 0; r < s->rows; r++, inputs += row) {
            memcpy(inputs, x + r * row_stride + t * step_stride, sizeof(float) * s->inputs);
            memset(inputs + s->inputs, 0, sizeof(float) * (row - s->inputs));
        }
}

static void step_forward(const Shape *s, const Layer *l, const Weights *w, Memory m, const float *inputs, long t) {
    float *gates = gates_of(&m, t), *state = m.states + t * m.states_step, *next = state + m.states_step;
    float *cell = m.cells + t * m.cells_step, *next_cell = cell + m.cells_step;
    for (long r = 0; s->kind == GRU && r < s->rows; r++)
        memset(gates + r * l->gates + l->input_gates, 0, sizeof(float) * l->hidden);
    product(s->rows, l->inputs, l->input_gates, (Left){inputs, l->input_row, 1},
            (Right){w->inputs, PANEL, l->inputs * PANEL}, gates, l->gates, 0);
    if (t)
        product(s->rows, s->hidden, l->state_gates, (Left){state, l->hidden, 1},
                (Right){w->states, PANEL, s->hidden * PANEL}, gates + l->first_state_gate, l->gates, 1);
    for (long r = 0; r < s->rows; r++) {
        const long H = l->hidden, at = r * H;
        float *row = gates + r * l->gates;
        if (s->kind == GRU)
            gru_forward(H, w->bias, row, state + at, next + at);
        else if (s->kind == LSTM)
            lstm_forward(H, w->bias, row, cell + at, next_cell + at, next + at);
        else
            plain_forward(H, s->kind == RELU, w->bias, row, next + at);
    }
}

/* x[r * row_stride + t * step_stride + i] -> the last layer's last states, R x H. */
void forward(const Shape *s, float *packed, const float *x, long row_stride, long step_stride, float *memory,
             float *out) {
    const unsigned before = flush_denormals();
    float *inputs = take_scratch(s, &memory).inputs;
    copy_inputs(s, x, row_stride, step_stride, inputs);
    for (long layer = 0; layer < s->layers; layer++) {
        const Layer l = layer_of(s, layer);
        const Weights w = next_weights(&l, &packed);
        const Memory m = next_memory(s, &l, &memory);
        memset(m.states, 0, sizeof(float) * s->rows * l.hidden);
        if (s->kind == LSTM) memset(m.cells, 0, sizeof(float) * s->rows * l.hidden);
        for (long t = 0; t < s->steps; t++)
            step_forward(s, &l, &w, m, inputs + t * s->rows * l.input_row, t);
        inputs = m.states + m.states_step;
    }
    for (long r = 0; r < s->rows; r++)
        memcpy(out + r * s->hidden, inputs + ((s->steps - 1) * s->rows + r) * padded(s->hidden),
               sizeof(float) * s->hidden);
    restore_denormals(before);
}

/* From the gradients of step t's states, in scratch, to those of its gates, of the states before and of inputs. */
static void step_backward(const Shape *s, const Layer *l, const Weights *w, Memory m, Scratch scratch, long t,
                          int is_first) {
    const long H = l->hidden;
    float *gates = gates_of(&m, t), *state = m.states + t * m.states_step, *next = state + m.states_step;
    float *cell = m.cells + t * m.cells_step, *next_cell = cell + m.cells_step;
    for (long r = 0; r < s->rows; r++) {
        const long at = r * H;
        float *row = gates + r * l->gates, *d_state = scratch.d_state + at;
        if (s->kind == GRU)
            gru_backward(H, row, state + at, d_state);
        else if (s->kind == LSTM)
            lstm_backward(H, row, cell + at, next_cell + at, d_state, scratch.d_cell + at);
        else
            plain_backward(H, s->kind == RELU, next + at, d_state, row);
    }
    if (t)
        product(s->rows, l->state_gates, H, (Left){gates + l->first_state_gate, l->gates, 1},
                (Right){w->back_states, PANEL, l->state_gates * PANEL}, scratch.d_state, H, s->kind == GRU);
    if (!is_first)
        product(s->rows, l->input_gates, l->input_row, (Left){gates, l->gates, 1},
                (Right){w->back_inputs, PANEL, l->input_gates * PANEL}, scratch.d_inputs + t * m.states_step,
                l->input_row, 0);
}

/* Adds the weight gradients of steps first to last - 1, at most a span, whose gates hold gradients by now. */
static void add_gradients(const Shape *s, const Layer *l, const Weights *g, Memory m, const float *inputs,
                          long first, long last) {
    const long R = s->rows, from = first ? first : 1; /* before the first step states are zero */
    const float *gates = gates_of(&m, first), *later = gates_of(&m, from);
    product(l->input_gates, (last - first) * R, l->input_row, (Left){gates, 1, l->gates},
            (Right){inputs + first * R * l->input_row, l->input_row, PANEL}, g->inputs, l->input_row, 1);
    product(l->state_gates, (last - from) * R, l->hidden, (Left){later + l->first_state_gate, 1, l->gates},
            (Right){m.states + from * m.states_step, l->hidden, PANEL}, g->states, l->hidden, 1);
    for (long r = 0; r < (last - first) * R; r++)
        for (long j = 0; j < l->gates; j++) g->bias[j] += gates[r * l->gates + j];
}

/* The gradients of the last states, R x H, and what `forward` left in memory -> adds to the weights' gradients. */
void backward(const Shape *s, float *packed, const float *d_out, float *memory, float *gradients) {
    const unsigned before = flush_denormals();
    Layer l[MAX_LAYERS];
    Weights w[MAX_LAYERS], g[MAX_LAYERS];
    Memory m[MAX_LAYERS];
    const Scratch scratch = take_scratch(s, &memory);
    for (long layer = 0; layer < s->layers; layer++) {
        l[layer] = layer_of(s, layer);
        w[layer] = next_weights(&l[layer], &packed);
        g[layer] = next_gradients(&l[layer], &gradients);
        m[layer] = next_memory(s, &l[layer], &memory);
    }
    const long H = l->hidden, states = s->rows * H;
    for (long layer = s->layers - 1; layer >= 0; layer--) {
        const float *inputs = layer ? m[layer - 1].states + states : scratch.inputs;
        memset(scratch.d_state, 0, sizeof(float) * states);
        memset(scratch.d_cell, 0, sizeof(float) * states);
        for (long r = 0; layer == s->layers - 1 && r < s->rows; r++)
            memcpy(scratch.d_state + r * H, d_out + r * s->hidden, sizeof(float) * s->hidden);
        for (long t = s->steps - 1, done = s->steps; t >= 0; t--) {
            const float *from_above = scratch.d_inputs + t * states;
            for (long i = 0; layer < s->layers - 1 && i < states; i++) scratch.d_state[i] += from_above[i];
            step_backward(s, &l[layer], &w[layer], m[layer], scratch, t, !layer);
            if (t % SPAN == 0) {
                add_gradients(s, &l[layer], &g[layer], m[layer], inputs, t, done);
                done = t;
            }
        }
    }
    restore_denormals(before);
}
