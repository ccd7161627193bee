// A second process for tests of ports: this program again, running only the hidden test that plays
// the peer.
//
// The process is killed when the object ends.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace imss::net {

class PeerProcess {
 public:
  // `role` is what the hidden test "[.port-peer]" shall do with the port number.
  PeerProcess(const std::string& role, int port_number) {
    const std::string number = std::to_string(port_number);
    pid_ = fork();
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(60);
    setenv("IMSS_TEST_ROLE", role.c_str(), 1);
    setenv("IMSS_TEST_PORT", number.c_str(), 1);
    // That one leaves a port to the end of the process on purpose.
    if (role == "exit") setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
    execl("/proc/self/exe", "test_net", "[.port-peer]", nullptr);
    _exit(127);
  }
  ~PeerProcess() { kill(); }
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  // What waitpid() says of its end, which comes within a minute.
  int wait_for_end() {
    int status = -1;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }

  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
};

}  // namespace imss::net
