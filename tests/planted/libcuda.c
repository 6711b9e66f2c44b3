/* A stand-in for the library of NVIDIA's driver, with a planted behaviour: WAY is one of the numbers below.
   Its functions are those of cuda.h that dlconv calls. It knows two GPUs. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORKS, NO_GPU, FAILS, ABORTS, HANGS, EMPTY, NO_COUNT };

#if WAY != 5
int cuInit(unsigned flags) {
    (void)flags;
    if (WAY == ABORTS) abort();
    if (WAY == HANGS) sleep(600);
    if (WAY == NO_GPU) return 100;
    return WAY == FAILS ? 803 : 0;
}

int cuGetErrorName(int code, const char **text) {
    *text = code == 803 ? "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH" : "CUDA_ERROR_UNKNOWN";
    return 0;
}

int cuDriverGetVersion(int *version) { *version = 12040; return 0; }
int cuDeviceGetCount(int *count) { *count = WAY == NO_COUNT ? 0 : 2; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int size, int device) {
    strncpy(name, device ? "Planted B" : "Planted A", (size_t)size);
    return 0;
}
int cuDeviceGetAttribute(int *value, int which, int device) {
    *value = which == 75 ? (device ? 8 : 9) : (device ? 6 : 0);
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)(device ? 24 : 80) << 30; return 0; }
#else
int nothing_of_a_driver;
#endif
