/* A stand-in for the library of NVIDIA's driver, with a planted behaviour: WAY is one of the numbers below.
   Its functions are those of cuda.h that dlconv calls. It knows two GPUs, which are alike in all but name and size. */
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

/* The GPU's memory is the machine's own. What is copied must lie in a piece that is allocated, and is freed once. */
typedef unsigned long long Address;
static struct { Address start; size_t size; } pieces[4096];
static int live;

static int piece_of(Address address, size_t size) {
    for (int i = 0; i < 4096; i++)
        if (pieces[i].size && address >= pieces[i].start && address + size <= pieces[i].start + pieces[i].size) return i;
    return -1;
}

int cuMemAlloc_v2(Address *address, size_t size) {
    int i = 0;
    while (i < 4096 && pieces[i].size) i++;
    if (i == 4096 || size == 0 || size > (size_t)1 << 32) return size && i < 4096 ? 2 : 1;
    pieces[i].size = size;
    pieces[i].start = *address = (Address)(size_t)malloc(size);
    live++;
    return 0;
}

int cuMemFree_v2(Address address) {
    int i = piece_of(address, 1);
    if (i < 0 || pieces[i].start != address) return 1;
    free((void *)(size_t)address);
    pieces[i].size = 0;
    live--;
    return 0;
}

int planted_live(void) { return live; }

static size_t planted_left = (size_t)79 << 30;
void planted_free(size_t bytes) { planted_left = bytes; }
int cuMemGetInfo_v2(size_t *left, size_t *whole) { *left = planted_left; *whole = (size_t)80 << 30; return 0; }

int cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t size, void *stream) {
    if (!stream || piece_of(to, size) < 0) return 1;
    memcpy((void *)(size_t)to, from, size);
    return 0;
}

int cuMemcpyDtoHAsync_v2(void *to, Address from, size_t size, void *stream) {
    if (!stream || piece_of(from, size) < 0) return 1;
    memcpy(to, (void *)(size_t)from, size);
    return 0;
}

int cuMemHostAlloc(void **address, size_t size, unsigned flags) {
    (void)flags;
    live++;
    return (*address = malloc(size)) ? 0 : 2;
}
int cuMemFreeHost(void *address) { free(address); live--; return 0; }

/* A graph is what the stand-in for TensorRT would have done, which it leaves here while the stream records. */
typedef void Work(void);
static Work *recorded;
static int capturing, refuses;
int planted_capturing(void) { return capturing; }
void planted_record(Work *work) { recorded = work; }
void planted_refuse(int code) { refuses = code; }
int cuStreamBeginCapture_v2(void *stream, int mode) { recorded = 0; capturing = 1; return stream && mode == 1 ? 0 : 1; }
int cuStreamEndCapture(void *stream, void **graph) {
    if (!stream || !capturing) return 1;
    capturing = 0;
    *graph = refuses ? 0 : (void *)recorded;
    live += !refuses;
    return refuses;
}
int cuGraphInstantiateWithFlags(void **launched, void *graph, unsigned long long flags) {
    *launched = graph;
    live++;
    return graph && !flags ? 0 : 1;
}
int cuGraphLaunch(void *launched, void *stream) { ((Work *)launched)(); return stream ? 0 : 1; }
int cuGraphExecDestroy(void *launched) { (void)launched; live--; return 0; }
int cuGraphDestroy(void *graph) { (void)graph; live--; return 0; }

static int context, stream, ticks, events[64], made;
int cuDevicePrimaryCtxRetain(void **which, int device) { (void)device; *which = &context; return 0; }
int cuCtxSetCurrent(void *which) { return which == &context ? 0 : 201; }
int cuStreamCreate(void **which, unsigned flags) { (void)flags; *which = &stream; return 0; }
int cuStreamSynchronize(void *which) { return which == &stream ? 0 : 400; }
int cuEventCreate(void **event, unsigned flags) { (void)flags; *event = &events[made++ % 64]; return 0; }
int cuEventRecord(void *event, void *which) { *(int *)event = ++ticks; return which == &stream ? 0 : 400; }
int cuEventElapsedTime(float *ms, void *first, void *second) {
    *ms = (float)(*(int *)second - *(int *)first) / 4;
    return *ms < 0 ? 400 : 0;
}
#else
int nothing_of_a_driver;
#endif
