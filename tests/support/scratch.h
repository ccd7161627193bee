// Test help: a folder for segment files of its own below /dev/shm, removed when the test ends.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace imss::test {

class Scratch {
 public:
  Scratch() {
    std::string pattern = "/dev/shm/imss-test-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
    ::setenv("IMSS_SHM_DIR", path_.c_str(), 1);
  }
  ~Scratch() {
    if (owner_ != ::getpid()) return;  // a forked child ends
    ::unsetenv("IMSS_SHM_DIR");
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  const pid_t owner_ = ::getpid();
  std::string path_;
};

}  // namespace imss::test
