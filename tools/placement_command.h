// `imss placement`: balance and movement of the distribution policies at any number of servers.
//
// Reads no configuration and touches no instance. Called once, by main().
#pragma once

// argv[0] is the command's name for messages. Returns the exit code: 0, or 2 when the command
// line is wrong or makes no sense.
int run_placement(int argc, char** argv);
