/* Runs a plan once: run PLAN INPUT OUTPUT. Input is all inputs back to back, output all outputs.
 *
 *   cargo build --release -p kinglet-c
 *   cc runtime/c/examples/run.c -Iruntime/c/include target/release/libkinglet_c.a -lpthread -ldl -lm -o run
 */
#include "kinglet.h"
#include <stdio.h>
#include <stdlib.h>

static void check(KingletStatus status, const char *what) {
    if (status != KINGLET_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", what, kinglet_status_text(status));
        exit(1);
    }
}

static unsigned char *read_file(const char *path, size_t *len) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        exit(1);
    }
    *len = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*len + 1);
    if (!bytes || fread(bytes, 1, *len, file) != *len) {
        perror(path);
        exit(1);
    }
    fclose(file);
    return bytes;
}

int main(int count, char **arguments) {
    if (count != 4) {
        fprintf(stderr, "usage: run PLAN INPUT OUTPUT\n");
        return 2;
    }
    size_t plan_len, input_len, at = 0;
    unsigned char *plan = read_file(arguments[1], &plan_len);
    unsigned char *input = read_file(arguments[2], &input_len);

    KingletModel *model = NULL;
    check(kinglet_open(plan, plan_len, &model), arguments[1]);
    free(plan);

    KingletTensor tensor;
    for (size_t i = 0; i < kinglet_input_count(model); i++) {
        check(kinglet_input_info(model, i, &tensor), "input");
        if (tensor.len > input_len - at) {
            fprintf(stderr, "%s: too short\n", arguments[2]);
            return 1;
        }
        check(kinglet_set_input(model, i, input + at, tensor.len), "input");
        at += tensor.len;
    }
    check(kinglet_run(model), "run");

    FILE *out = fopen(arguments[3], "wb");
    if (!out) {
        perror(arguments[3]);
        return 1;
    }
    for (size_t i = 0; i < kinglet_output_count(model); i++) {
        check(kinglet_output_info(model, i, &tensor), "output");
        unsigned char *bytes = malloc(tensor.len);
        check(kinglet_get_output(model, i, bytes, tensor.len), "output");
        fwrite(bytes, 1, tensor.len, out);
        free(bytes);
    }
    kinglet_close(model);
    free(input);
    return fclose(out) == 0 ? 0 : 1;
}
