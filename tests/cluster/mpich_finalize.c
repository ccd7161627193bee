/*
 * For LD_PRELOAD into programs of MPICH 4.0 that run over several hosts with TCP. There,
 * MPI_Finalize waits until the peers have confirmed that all data arrived, but a rank that has all
 * of its own confirmations waits for the others without giving any more (pmodels/mpich pull request
 * 6596 removed that), so that some programs never end. Here a rank that has waited for a second
 * while it disconnects takes the missing confirmations as given.
 *
 * One thread finalizes; nothing is changed before it does.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

void* ucp_disconnect_nb(void* endpoint);
int ucp_request_is_completed(void* request);

static const double patience_seconds = 1;
static double disconnecting_since = 0;

static double now_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void* next_definition(const char* name) {
  void* address = dlsym(RTLD_NEXT, name);
  if (address == NULL) abort();
  return address;
}

void* ucp_disconnect_nb(void* endpoint) {
  static void* (*next)(void*);
  if (next == NULL) *(void**)&next = next_definition("ucp_disconnect_nb");
  disconnecting_since = now_seconds();
  return next(endpoint);
}

int ucp_request_is_completed(void* request) {
  static int (*next)(void*);
  if (next == NULL) *(void**)&next = next_definition("ucp_request_is_completed");
  const int completed = next(request);
  if (completed || disconnecting_since == 0) return completed;
  return now_seconds() - disconnecting_since > patience_seconds;
}
