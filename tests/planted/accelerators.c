/* Stand-ins for cuBLAS, cuDNN, TensorRT's core and HIP: the functions that dlconv calls, and no more.
   STATUS is what those that can fail answer; GPUS is how many HIP sees; BARE leaves all of them out. */
#include <stddef.h>
#include <string.h>

#ifndef BARE
int cublasCreate_v2(void **handle) { *handle = &handle; return STATUS; }
int cublasGetVersion_v2(void *handle, int *version) { (void)handle; *version = 120304; return 0; }
int cublasDestroy_v2(void *handle) { (void)handle; return 0; }

int cudnnCreate(void **handle) { *handle = &handle; return STATUS; }
int cudnnDestroy(void *handle) { (void)handle; return 0; }
size_t cudnnGetVersion(void) { return 90100; }

int getInferLibVersion(void) { return 8503; }

int hipInit(unsigned flags) { (void)flags; return STATUS; }
int hipRuntimeGetVersion(int *version) { *version = 60342134; return 0; }
int hipGetDeviceCount(int *count) { *count = GPUS; return 0; }
int hipDeviceGet(int *device, int index) { *device = index; return 0; }
int hipDeviceGetName(char *name, int size, int device) { (void)device; strncpy(name, "Planted", (size_t)size); return 0; }
#else
int nothing;
#endif
