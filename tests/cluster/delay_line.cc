// A cable that is longer than it looks: passes Ethernet frames between two network devices in both
// directions, each frame a fixed time after it came. Frames keep their order and whatever the
// kernel left to be done by the device (segmentation, checksums). One thread; ends with an error
// message when a device goes away, and holds back a bounded number of bytes: what comes on top is
// dropped, as any cable with a queue would.
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

// The header for the device (virtio_net_hdr, which C++ cannot include), and the largest frame
// before segmentation.
constexpr size_t kDeviceHeaderBytes = 10;
constexpr size_t kMaxFrameBytes = kDeviceHeaderBytes + ETH_HLEN + 65536;
constexpr size_t kMaxHeldBytes = size_t{256} << 20;
// Frames taken from one device before the other has its turn.
constexpr int kFramesPerTurn = 64;

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "cluster_delay_line: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

void set_option(int socket_fd, int level, int name, const void* value, socklen_t value_bytes,
                const char* what) {
  if (setsockopt(socket_fd, level, name, value, value_bytes) != 0) die(what);
}

// A socket that receives what arrives at the device, not what we send through it.
int open_device(const char* name) {
  const unsigned index = if_nametoindex(name);
  if (index == 0) die(name);
  const int socket_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket_fd < 0) die("packet socket");
  const int on = 1;
  set_option(socket_fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on, "frames with a device header");
  set_option(socket_fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on, "incoming frames only");
  packet_mreq membership{};
  membership.mr_ifindex = static_cast<int>(index);
  membership.mr_type = PACKET_MR_PROMISC;
  set_option(socket_fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership,
             "frames to all addresses");
  const int buffer_bytes = 64 << 20;
  set_option(socket_fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes,
             "receive buffer");
  set_option(socket_fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer_bytes, sizeof buffer_bytes,
             "send buffer");
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(index);
  if (bind(socket_fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) die(name);
  return socket_fd;
}

// One direction of the cable.
class Line {
 public:
  Line(int from, int to, Clock::duration delay) : from_(from), to_(to), delay_(delay) {}

  void take_in() {
    for (int count = 0; count < kFramesPerTurn; ++count) {
      const ssize_t received = recv(from_, buffer_.data(), buffer_.size(), 0);
      if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
      // A link that is down is one without frames.
      if (received < 0 && errno == ENETDOWN) return;
      if (received < 0) die("receiving");
      const auto frame_bytes = static_cast<size_t>(received);
      if (held_bytes_ + frame_bytes > kMaxHeldBytes) continue;
      held_bytes_ += frame_bytes;
      held_.push_back({Clock::now() + delay_, {buffer_.data(), buffer_.data() + frame_bytes}});
    }
  }

  void let_out() {
    while (!held_.empty() && held_.front().due <= Clock::now()) {
      const std::vector<char>& frame = held_.front().bytes;
      // What the device does not take (down, full) is lost.
      if (send(to_, frame.data(), frame.size(), 0) < 0 && (errno == ENXIO || errno == ENODEV))
        die("sending");
      held_bytes_ -= frame.size();
      held_.pop_front();
    }
  }

  Clock::time_point next_due() const {
    return held_.empty() ? Clock::time_point::max() : held_.front().due;
  }

 private:
  struct Frame {
    Clock::time_point due;
    std::vector<char> bytes;
  };

  int from_;
  int to_;
  Clock::duration delay_;
  size_t held_bytes_ = 0;
  std::deque<Frame> held_;
  std::array<char, kMaxFrameBytes> buffer_{};
};

// Sleeps until a frame arrives or one is due.
void wait_for_work(std::array<pollfd, 2>& devices, Clock::time_point due) {
  timespec timeout{1, 0};
  if (due != Clock::time_point::max()) {
    const auto left = std::max(Clock::duration::zero(), due - Clock::now());
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
    timeout.tv_sec = seconds.count();
    timeout.tv_nsec = std::chrono::duration_cast<std::chrono::nanoseconds>(left - seconds).count();
  }
  if (ppoll(devices.data(), devices.size(), &timeout, nullptr) < 0 && errno != EINTR)
    die("waiting");
}

}  // namespace

int main(int argc, char** argv) {
  unsigned delay_ms = 0;
  const std::string_view delay_text = argc == 4 ? argv[3] : "";
  const auto parsed =
      std::from_chars(delay_text.data(), delay_text.data() + delay_text.size(), delay_ms);
  if (argc != 4 || parsed.ec != std::errc() ||
      parsed.ptr != delay_text.data() + delay_text.size()) {
    std::fprintf(stderr, "usage: cluster_delay_line DEVICE DEVICE MILLISECONDS\n");
    return 2;
  }
  const int left = open_device(argv[1]);
  const int right = open_device(argv[2]);
  Line to_right(left, right, std::chrono::milliseconds(delay_ms));
  Line to_left(right, left, std::chrono::milliseconds(delay_ms));
  std::array<pollfd, 2> devices{{{left, POLLIN, 0}, {right, POLLIN, 0}}};
  std::puts("ready");
  std::fflush(stdout);
  while (true) {
    wait_for_work(devices, std::min(to_right.next_due(), to_left.next_due()));
    to_right.take_in();
    to_left.take_in();
    to_right.let_out();
    to_left.let_out();
  }
}
