// `imss bench` alone.
#include "bench_command.h"

int main(int argc, char** argv) { return run_bench(argc, argv); }
