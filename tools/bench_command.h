// `imss bench`: speed and memory of the store beside memcpy and tmpfs, measured in one run.
//
// Starts servers of its own in a scratch folder and removes everything at the end, also after an
// interrupt. Called once, by main().
#pragma once

// argv[0] is the command's name for messages. Returns the exit code: 0, 1 when a measurement
// failed, 2 when the command line is wrong.
int run_bench(int argc, char** argv);
