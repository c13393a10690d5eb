/* How weights, gradients and what is remembered lie in memory, padded with zeros to whole panels.
 *
 * Gates are columns, H each: plain [h], GRU [n's part of inputs, r, z, n's part of states], LSTM [i, f, g, o].
 */
#include <string.h>

enum { TANH, RELU, GRU, LSTM };
enum { MAX_LAYERS = 16 };
enum { SPAN = 4 }; /* steps whose weight gradients are summed at a time: enough to outweigh loading the sums */

typedef struct {
    long kind, layers, rows, steps, inputs, hidden, keeps; /* keeps: all that the backward pass needs */
} Shape;

/* Columns of gates: those that inputs add to come first, those that states add to begin at first_state_gate. */
typedef struct {
    long inputs, input_row, hidden, gates, input_gates, state_gates, first_state_gate;
} Layer;

static Layer layer_of(const Shape *s, long layer) {
    const long H = padded(s->hidden), inputs = layer ? s->hidden : s->inputs, row = padded(inputs);
    if (s->kind == GRU) return (Layer){inputs, row, H, 4 * H, 3 * H, 3 * H, H};
    const long gates = s->kind == LSTM ? 4 * H : H;
    return (Layer){inputs, row, H, gates, gates, gates, 0};
}

/* The gate, in torch's order, at a place among those of inputs: GRU's n comes first there. */
static long input_gate(const Shape *s, long place) { return s->kind == GRU ? (place + 2) % 3 : place; }

static long num_gates(const Shape *s) { return s->kind == GRU ? 3 : s->kind == LSTM ? 4 : 1; }

/* A layer's weights, in the order in which products read them; or its gradients, in torch's order but padded. */
typedef struct {
    float *inputs, *states, *bias, *back_inputs, *back_states;
} Weights;

static float *take(float **from, long count) {
    float *taken = *from;
    *from += count;
    return taken;
}

static Weights next_gradients(const Layer *l, float **from) {
    Weights g = {0};
    g.inputs = take(from, l->input_gates * l->input_row);
    g.states = take(from, l->state_gates * l->hidden);
    g.bias = take(from, l->gates);
    return g;
}

static Weights next_weights(const Layer *l, float **from) {
    Weights w = next_gradients(l, from);
    w.back_inputs = take(from, l->input_gates * l->input_row);
    w.back_states = take(from, l->state_gates * l->hidden);
    return w;
}

/* What all layers share while some rows pass through. */
typedef struct {
    float *inputs, *d_state, *d_cell, *d_inputs;
} Scratch;

static Scratch take_scratch(const Shape *s, float **from) {
    const long states = s->rows * padded(s->hidden);
    Scratch scratch;
    scratch.inputs = take(from, s->steps * s->rows * padded(s->inputs));
    scratch.d_state = take(from, states);
    scratch.d_cell = take(from, states);
    scratch.d_inputs = take(from, s->keeps ? s->steps * states : 0);
    return scratch;
}

/* What a layer remembers; *_step is how far the next step's lies. States and cells begin before the first step.
 *
 * There are gates of kept_gates steps, and they are used in turns: a plain net needs none of them again, and the
 * gradients of a span's gates, which take their place, stay in the cache. */
typedef struct {
    float *gates, *states, *cells;
    long kept_gates, gates_step, states_step, cells_step;
} Memory;

static float *gates_of(const Memory *m, long step) { return m->gates + step % m->kept_gates * m->gates_step; }

static Memory next_memory(const Shape *s, const Layer *l, float **from) {
    const long gates = s->rows * l->gates, states = s->rows * l->hidden, cells = s->kind == LSTM ? states : 0;
    const long kept_gates = !s->keeps ? 1 : s->kind == GRU || s->kind == LSTM ? s->steps : SPAN;
    Memory memory = {0, 0, 0, kept_gates, gates, states, s->keeps ? cells : 0};
    memory.gates = take(from, kept_gates * gates);
    memory.states = take(from, (s->steps + 1) * states);
    memory.cells = take(from, s->keeps ? (s->steps + 1) * cells : cells);
    return memory;
}

long memory_size(const Shape *s) {
    float *end = 0;
    take_scratch(s, &end);
    for (long layer = 0; layer < s->layers; layer++) {
        const Layer l = layer_of(s, layer);
        next_memory(s, &l, &end);
    }
    return end - (float *)0;
}

static long size_of_layers(const Shape *s, Weights (*next)(const Layer *, float **)) {
    float *end = 0;
    for (long layer = 0; layer < s->layers; layer++) {
        const Layer l = layer_of(s, layer);
        next(&l, &end);
    }
    return end - (float *)0;
}

long weights_size(const Shape *s) { return size_of_layers(s, next_weights); }

long gradients_size(const Shape *s) { return size_of_layers(s, next_gradients); }

/* One gate's rows of a weight matrix, into panels of columns for the forward pass and of rows for the backward. */
static void pack_gate(const float *weights, long H, long inputs, long column, float *forth, float *back,
                      long all_gates) {
    for (long j = 0; j < H; j++)
        for (long k = 0; k < inputs; k++)
            forth[(column + j) / PANEL * inputs * PANEL + k * PANEL + (column + j) % PANEL] = weights[j * inputs + k];
    for (long k = 0; k < inputs; k += PANEL)
        for (long j = 0; j < H; j++)
            memcpy(back + k * all_gates + (column + j) * PANEL, weights + j * inputs + k,
                   sizeof(float) * (inputs - k < PANEL ? inputs - k : PANEL));
}

/* parameters: for each layer W_ih, W_hh, b_ih, b_hh as torch keeps them; the biases may be null. */
void pack(const Shape *s, const float *const *parameters, float *packed) {
    memset(packed, 0, sizeof(float) * weights_size(s));
    for (long layer = 0; layer < s->layers; layer++, parameters += 4) {
        const Layer l = layer_of(s, layer);
        const Weights w = next_weights(&l, &packed);
        for (long place = 0; place < num_gates(s); place++) {
            const long column = place * l.hidden, from = input_gate(s, place) * s->hidden;
            pack_gate(parameters[0] + from * l.inputs, s->hidden, l.inputs, column, w.inputs, w.back_inputs,
                      l.input_gates);
            pack_gate(parameters[1] + place * s->hidden * s->hidden, s->hidden, s->hidden, column, w.states,
                      w.back_states, l.state_gates);
            for (long j = 0; parameters[2] && j < s->hidden; j++) {
                w.bias[column + j] += parameters[2][from + j];
                w.bias[l.first_state_gate + column + j] += parameters[3][place * s->hidden + j];
            }
        }
    }
}

/* The sum of the gradients of all groups of rows, in their order, as torch keeps them. */
void unpack(const Shape *s, long groups, float *gradients, float *const *parameters) {
    const long size = gradients_size(s);
    for (long layer = 0; layer < s->layers; layer++, parameters += 4) {
        const Layer l = layer_of(s, layer);
        float *from = gradients;
        const Weights g = next_gradients(&l, &from);
        gradients = from;
        for (long place = 0; place < num_gates(s); place++)
            for (long j = 0; j < s->hidden; j++) {
                const long column = place * l.hidden + j, to = input_gate(s, place) * s->hidden + j;
                const long state_column = l.first_state_gate + column, state_to = place * s->hidden + j;
                for (long group = 0; group < groups; group++) {
#define SUM(to, from) to = (group ? to : 0) + (from)[group * size]
                    for (long k = 0; k < l.inputs; k++)
                        SUM(parameters[0][to * l.inputs + k], &g.inputs[column * l.input_row + k]);
                    for (long k = 0; k < s->hidden; k++)
                        SUM(parameters[1][state_to * s->hidden + k], &g.states[column * l.hidden + k]);
                    if (!parameters[2]) continue;
                    SUM(parameters[2][to], &g.bias[column]);
                    SUM(parameters[3][state_to], &g.bias[state_column]);
                }
            }
    }
}
