// The smallest program there is.  It is compiled and loaded to find out whether that works on a GPU.

extern "C" __global__ void probe(real* numbers) { numbers[threadIdx.x] = not_a_number(); }
