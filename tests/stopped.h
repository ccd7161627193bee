// A child process that stops in the middle of an operation and goes on when the test lets it.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>

#include "segment/fault.h"

namespace engines {

// A child that stops itself at a fault point of `work`, and exits with 0 if `work` is content.
class Stopped {
 public:
  Stopped(const std::string& point, const std::function<bool()>& work) : child_(::fork()) {
    if (child_ == 0) {
      ::setenv("IMSS_FAULT", (point + ":1:stop").c_str(), 1);
      imss::segment::fault_reload();
      ::_exit(work() ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child_, &status, WUNTRACED) == child_);
    REQUIRE(WIFSTOPPED(status));
  }
  ~Stopped() {
    if (child_ > 0) ::kill(child_, SIGKILL);
  }
  bool is_content_when_it_wakes_up() {
    ::kill(child_, SIGCONT);
    int status = 0;
    REQUIRE(::waitpid(child_, &status, 0) == child_);
    child_ = 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

 private:
  pid_t child_;
};

}  // namespace engines
