/* Kinglet for C: runs plans that `kinglet compile` makes. Made from runtime/c/src by cbindgen; do not edit. */

#ifndef KINGLET_H
#define KINGLET_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/*
 What came of a call.
 */
typedef enum KingletStatus {
  /*
   Done.
   */
  KINGLET_STATUS_OK = 0,
  /*
   A pointer is null that must not be.
   */
  KINGLET_STATUS_NULL = 1,
  /*
   The bytes are no plan of this version, or a damaged one.
   */
  KINGLET_STATUS_PLAN = 2,
  /*
   There is not enough memory.
   */
  KINGLET_STATUS_MEMORY = 3,
  /*
   There is no input or output of that index.
   */
  KINGLET_STATUS_INDEX = 4,
  /*
   The buffer has another length than the tensor.
   */
  KINGLET_STATUS_LENGTH = 5,
  /*
   A step failed, which no plan of the compiler's does.
   */
  KINGLET_STATUS_RUN = 6,
} KingletStatus;

/*
 Type of a tensor's elements.
 */
typedef enum KingletDtype {
  /*
   `float`.
   */
  KINGLET_DTYPE_F32 = 0,
  /*
   `int8_t`.
   */
  KINGLET_DTYPE_I8 = 1,
  /*
   `uint8_t`.
   */
  KINGLET_DTYPE_U8 = 2,
  /*
   `int32_t`.
   */
  KINGLET_DTYPE_I32 = 3,
} KingletDtype;

/*
 A model ready to run, by one thread at a time. Different models may run at the same time.
 */
typedef struct KingletModel KingletModel;

/*
 An input or output.
 */
typedef struct KingletTensor {
  /*
   Type of the elements.
   */
  enum KingletDtype dtype;
  /*
   Number of dimensions.
   */
  size_t rank;
  /*
   Dimensions; those behind `rank` are 0.
   */
  size_t shape[8];
  /*
   Bytes.
   */
  size_t len;
  /*
   Quantisation: a real is `scale * (q - zero_point)`. 0 for floats.
   */
  float scale;
  /*
   Zero point; 0 for floats.
   */
  int32_t zero_point;
  /*
   Of an input that keeps its value from run to run: 1 + the index of the output that becomes it. Else 0.
   */
  size_t state;
  /*
   The ONNX name in UTF-8, not ended by a zero; as long as the model is open.
   */
  const uint8_t *name;
  /*
   Bytes of the name.
   */
  size_t name_len;
} KingletTensor;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 Makes a model of a plan, which is copied. The plan is checked; states that the model keeps from run to run begin with zeroes.

 # Safety
 `plan` points to `len` bytes; `model` may be written. Close what it becomes with [`kinglet_close`].
 */
enum KingletStatus kinglet_open(const uint8_t *plan,
                                size_t len,
                                struct KingletModel **model);

/*
 Gives a model's memory back. Null is nothing to close.

 # Safety
 `model` came from [`kinglet_open`], is closed once, and nothing uses it afterwards.
 */
void kinglet_close(struct KingletModel *model);

/*
 The number of inputs; 0 for null.

 # Safety
 `model` is null or an open model.
 */
size_t kinglet_input_count(const struct KingletModel *model);

/*
 The number of outputs; 0 for null.

 # Safety
 `model` is null or an open model.
 */
size_t kinglet_output_count(const struct KingletModel *model);

/*
 Describes input `index`.

 # Safety
 `model` is null or an open model; `tensor` is null or may be written.
 */
enum KingletStatus kinglet_input_info(const struct KingletModel *model,
                                      size_t index,
                                      struct KingletTensor *tensor);

/*
 Describes output `index`.

 # Safety
 `model` is null or an open model; `tensor` is null or may be written.
 */
enum KingletStatus kinglet_output_info(const struct KingletModel *model,
                                       size_t index,
                                       struct KingletTensor *tensor);

/*
 Copies `len` bytes to input `index`, all of it, in the order of its shape. Each run needs all inputs anew, but for states.

 # Safety
 `model` is null or an open model; `bytes` points to `len` bytes.
 */
enum KingletStatus kinglet_set_input(struct KingletModel *model,
                                     size_t index,
                                     const uint8_t *bytes,
                                     size_t len);

/*
 Computes the outputs of the inputs that were set.

 # Safety
 `model` is null or an open model.
 */
enum KingletStatus kinglet_run(struct KingletModel *model);

/*
 Copies output `index` of the last run, all of it, to `len` bytes.

 # Safety
 `model` is null or an open model; `bytes` points to `len` bytes that may be written.
 */
enum KingletStatus kinglet_get_output(const struct KingletModel *model,
                                      size_t index,
                                      uint8_t *bytes,
                                      size_t len);

/*
 What a status means, in English; it lives as long as the program.
 */
const char *kinglet_status_text(enum KingletStatus status);

/*
 The version of the plan format that this library runs; a plan of another one is refused.
 */
uint32_t kinglet_plan_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* KINGLET_H */
